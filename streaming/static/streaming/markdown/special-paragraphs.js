// Paragraphs with a special beginning: tasks, GitHub's alerts and footnotes.

/** @typedef {import("./dialect.js").Env} Env */
/** @typedef {import("./dialect.js").Markdown} Markdown */

const TASK = /^\[([ x])\](?=\s)/i;
const ALERT = /^\[!(note|tip|important|warning|caution)\][ \t]*(?:\n|$)/i;
const NOTE = /^\[(\^([^\s[\]]+))\]:\s*/;

/** @param {Markdown} md */
export function markParagraphs({ block: { ruler }, core, utils }) {
  // A footnote is not a link definition, and needs no blank line before it.
  const isNote = (/** @type {string} */ line) => NOTE.test(line);
  ruler.before(
    "reference",
    "note",
    (state, start, end, silent) =>
      state.sCount[start] - state.blkIndent < 4 &&
      isNote(state.getLines(start, start + 1, state.blkIndent + 4, false).trimStart()) &&
      (silent || Boolean(ruler.getRules("").at(-1)?.(state, start, end, silent))),
    { alt: ["paragraph", "reference", "blockquote", "list"] },
  );
  core.ruler.before("inline", "paragraphs", ({ tokens, Token, env }) => {
    for (let n = tokens.length - 2; n > 0; n--) {
      const [outer, open, inline, close] = [tokens[n - 2], tokens[n - 1], tokens[n], tokens[n + 1]];
      if (open.type !== "paragraph_open") continue;
      const isAlert = outer?.type === "blockquote_open" && ALERT.exec(inline.content);
      const isTask = outer?.type === "list_item_open" && TASK.exec(inline.content);
      const found = isAlert || isTask || NOTE.exec(inline.content);
      if (!found) continue;
      const [mark, name, label = ""] = found;
      inline.content = inline.content.slice(mark.length);
      if (isAlert) {
        outer.attrs = [["data-alert", name.toLowerCase()]];
        open.hidden = close.hidden = inline.content === "";
      } else if (isTask) {
        const box = new Token("task", "input", 0);
        box.attrs = [
          ["type", "checkbox"],
          ["disabled", ""],
        ];
        const isDone = name !== " ";
        if (isDone) box.attrs.push(["checked", ""]);
        const { taskLabels } = /** @type {Env} */ (env);
        if (taskLabels) box.attrs.push(["aria-label", taskLabels[Number(isDone)]]);
        tokens.splice(n, 0, box);
      } else {
        open.tag = "aside";
        open.attrs = [["data-note", label]];
        (env.references ??= {})[utils.normalizeReference(name)] ??= { title: "", href: "" };
      }
    }
  });
}
