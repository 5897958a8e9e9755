// A plain relay, as one would write it in an afternoon: reads an event stream, and writes each event on. No rules.
// node relay.mjs UPSTREAM_URL : prints the port it listens on.

import http from "node:http";

const upstream = process.argv[2];

const server = http.createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  http.get(upstream, (source) => {
    let rest = "",
      count = 0;
    source.setEncoding("utf8");
    source.on("data", (chunk) => {
      const blocks = (rest + chunk).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const line = block.split("\n").find((line) => line.startsWith("data: "));
        if (!line) continue;
        const data = JSON.parse(line.slice(6));
        response.write(`id: ${count++}\n`);
        response.write(`data: ${JSON.stringify(data)}\n\n`);
      }
    });
    source.on("end", () => response.end());
  });
});

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
