// A minimal relay for comparison: reads an event stream and forwards each event, without moderation.
// node relay.mjs UPSTREAM_ORIGIN [PORT] : prints the port it listens on.

import http from "node:http";

const [upstream, port = "0"] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });

const server = http.createServer((request, response) => {
  const { method, headers } = request;
  const asked = http.request(upstream + request.url, { method, agent }, (source) => {
    response.writeHead(source.statusCode, { "Content-Type": "text/event-stream" });
    let rest = "";
    let count = 0;
    source.setEncoding("utf8");
    source.on("data", (chunk) => {
      const blocks = (rest + chunk).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const line = block.split("\n").find((line) => line.startsWith("data: "));
        if (!line) continue;
        const data = line.slice(6);
        response.write(`id: ${count++}\n`);
        response.write(`data: ${data === "[DONE]" ? data : JSON.stringify(JSON.parse(data))}\n\n`);
      }
    });
    source.on("end", () => response.end());
    source.on("error", () => response.destroy());
    response.on("close", () => source.destroy());
  });
  asked.on("error", () => response.destroy());
  if (headers["content-type"]) asked.setHeader("Content-Type", headers["content-type"]);
  request.pipe(asked);
});

server.listen(Number(port), "127.0.0.1", 4096, () => console.log(server.address().port));
