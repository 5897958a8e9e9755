// The cost of rendering Markdown that arrives in pieces of 20 characters: script time, the longest flush, and the number
// of noticeably long flushes. Runs in a browser.

const PIECE = 20;
const LONG = 50;

/** @param {{ MarkdownView: typeof import("../../streaming/static/streaming/markdown/view.js").MarkdownView, MarkdownIt: any, marked: any }} libraries */
export function renderers({ MarkdownView, MarkdownIt, marked }) {
  const whole = (render) => (root) => {
    let text = "";
    return (piece) => {
      root.innerHTML = render((text += piece));
    };
  };
  const md = MarkdownIt({ linkify: true });
  return {
    "this project": (root) => {
      const view = new MarkdownView(root);
      return (piece) => {
        view.append(piece);
        view.flush();
      };
    },
    "markdown-it, from scratch": whole((text) => md.render(text)),
    "marked, from scratch": whole((text) => marked.parse(text)),
  };
}

/**
 * Milliseconds of script for the whole text, and of its longest flush.
 * @param {(root: HTMLElement) => (piece: string) => void} make
 * @param {string} text
 */
export function measure(make, text) {
  const root = document.body.appendChild(document.createElement("div"));
  const show = make(root),
    times = [];
  for (let from = 0; from < text.length; from += PIECE) {
    const begun = performance.now();
    show(text.slice(from, from + PIECE));
    times.push(performance.now() - begun);
  }
  root.remove();
  return {
    total: times.reduce((sum, time) => sum + time, 0),
    longest: Math.max(...times),
    long: times.filter((time) => time > LONG).length,
    flushes: times.length,
  };
}
