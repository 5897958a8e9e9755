// A page of another project that uses these modules from npm.

import "ssesite-streaming/style.css";
import { Code } from "ssesite-streaming/code.js";
import { fetchEvents, FetchEventSource, RefusedError, type Options } from "ssesite-streaming/event-source.js";
import { MarkdownView } from "ssesite-streaming/markdown/view.js";
import { Scroll } from "ssesite-streaming/scroll.js";
import { Parser, type Message } from "ssesite-streaming/sse.js";
import { Typewriter } from "ssesite-streaming/typewriter.js";

const root = document.querySelector<HTMLElement>("#answer")!;
const view = new MarkdownView(root, { copyLabel: "Copy", taskLabels: ["to do", "done"] });
const code = new Code(root, (copied: boolean) => console.log(copied));
const scroll = new Scroll(document.body, root, () => {});
const typewriter = new Typewriter();
const options: Options = { method: "POST", headers: async () => ({ Authorization: "Bearer k" }), body: "{}" };

export async function read(url: URL): Promise<string> {
  try {
    for await (const { event, data } of fetchEvents(url, options)) {
      if (event === "message") typewriter.push((JSON.parse(data) as { delta: string }).delta, performance.now());
      view.append(typewriter.take(performance.now()));
      view.flush();
      code.refresh();
      scroll.follow();
    }
  } catch (error) {
    if (error instanceof RefusedError) return error.problem?.detail ?? String(error.status);
  }
  view.end();
  const source = new FetchEventSource(url, { withCredentials: true });
  source.onmessage = ({ data }) => console.log(data.length);
  source.addEventListener("moderation", ({ data }) => console.log(data.length));
  source.addEventListener("error", ({ error }) => console.log(error));
  const messages: Message[] = new Parser({ lastEventId: "1" }).feed(new Uint8Array());
  return messages[0]?.id ?? view.source;
}

void read(new URL("/transfer", location.href)).then(console.log);
