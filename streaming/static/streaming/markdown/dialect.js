// The Markdown that is spoken here: CommonMark with tables, strikethrough, bare links and task lists; no HTML.

import MarkdownIt from "../vendor/markdown-it.js";
import { heal, IDEOGRAPH } from "./heal.js";

/** @typedef {import("../vendor/markdown-it.js").Token} Token */
/** `open`: the last inline text may go on; `bracketed`: see heal.js. @typedef {import("../vendor/markdown-it.js").Env & { bracketed?: Set<string>, copyLabel?: string }} Env */
/** @typedef {import("../vendor/markdown-it.js").MarkdownIt} Markdown */

/** @returns {Markdown} */
export function createMarkdown() {
  const md = MarkdownIt({ html: false, linkify: true });
  md.validateLink = isHarmless;
  md.linkify.add("www.", {
    validate: restOfAddress,
    normalize: (link) => {
      link.url = `http://${link.url}`;
    },
  });
  emphasizeBetweenIdeographs(md);
  md.core.ruler.after("inline", "tasks", (state) => markTasks(state.tokens, state.Token));
  md.core.ruler.push("code", (state) => {
    state.tokens = state.tokens.flatMap((token) => spreadCode(token, state));
  });
  md.core.ruler.push("images", ({ tokens, env }) => {
    for (const { children } of tokens)
      for (const token of children ?? []) if (token.type === "image") nameImage(token, md, env);
  });
  heal(md);
  return md;
}

/**
 * Links lead to places of a few kinds, or nowhere: what a scheme that is not listed does, nobody can know.
 * @param {string} url
 */
export function isHarmless(url) {
  const scheme = /^\s*([a-z][a-z0-9+.-]*):/i.exec(url)?.[1];
  return scheme === undefined || ["http", "https", "mailto", "tel"].includes(scheme.toLowerCase());
}

/**
 * How much of an address follows its `www.`: as much as if it were written in full.
 * @param {string} text
 * @param {number} start
 * @param {Markdown["linkify"]} linkify
 */
function restOfAddress(text, start, linkify) {
  return Math.max(0, linkify.testSchemaAt(`//www.${text.slice(start)}`, "//", 2) - 4);
}

/**
 * CommonMark looks for a space beside `**` where Chinese, Japanese and Korean write none: after `**重要：**` an
 * ideograph may follow at once. To the rules of emphasis it stands for a space here, but only beside punctuation.
 * @param {Markdown} md
 */
function emphasizeBetweenIdeographs(md) {
  md.inline.State = class extends md.inline.State {
    /**
     * @param {number} start
     * @param {boolean} canSplitWord
     */
    scanDelims(start, canSplitWord) {
      const scanned = super.scanDelims(start, canSplitWord);
      if (!canSplitWord) return scanned;
      const before = lastCharacter(this.src.slice(Math.max(0, start - 2), start));
      const after = firstCharacter(this.src.slice(start + scanned.length, start + scanned.length + 2));
      if (IDEOGRAPH.test(before) && isWritten(after)) scanned.can_open = true;
      if (IDEOGRAPH.test(after) && isWritten(before)) scanned.can_close = true;
      return scanned;
    }
  };
}

/** @param {string} text */
const lastCharacter = (text) => [...text].at(-1) ?? "";
/** @param {string} text */
const firstCharacter = (text) => [...text][0] ?? "";
/** @param {string} character */
const isWritten = (character) => /\S/.test(character);

/**
 * A block of code as elements, like any other block, for it may be shown in parts; with a button to copy it, where that
 * has a label.
 * @param {Token} token
 * @param {{ Token: TokenClass, env: Env, md: Markdown }} state
 */
function spreadCode(
  token,
  {
    Token: TokenClass,
    env: { copyLabel },
    md: {
      utils: { unescapeAll },
    },
  },
) {
  if (token.type !== "fence" && token.type !== "code_block") return [token];
  const [language] = unescapeAll(token.info).trim().split(/\s+/);
  const text = new TokenClass("text", "", 0);
  text.content = token.content;
  /** @param {string} tag @param {number} depth @param {1 | -1} nesting @param {Token["attrs"]} [attrs] */
  const piece = (tag, depth, nesting, attrs = null) =>
    Object.assign(new TokenClass(tag, tag, nesting), { level: token.level + depth, attrs });
  return [
    piece("figure", 0, 1, language ? [["data-language", language]] : null),
    ...(copyLabel
      ? [
          piece("button", 1, 1, [
            ["type", "button"],
            ["data-copy", ""],
            ["aria-label", copyLabel],
          ]),
          piece("button", 1, -1),
        ]
      : []),
    piece("pre", 1, 1),
    piece("code", 2, 1, language ? [["class", `language-${language}`]] : null),
    text,
    piece("code", 2, -1),
    piece("pre", 1, -1),
    piece("figure", 0, -1),
  ];
}

/**
 * What an image says, as a link to it: the page asks no other site for anything. One that says nothing is not there.
 * @param {Token} image
 * @param {Markdown} md
 * @param {Env} env
 */
function nameImage(image, md, env) {
  image.content = md.renderer.renderInlineAsText(image.children ?? [], md.options, env);
  image.tag = image.content && "a";
  image.attrs = [["href", image.attrGet("src") ?? ""]];
}

/** @typedef {new (type: string, tag: string, nesting: -1 | 0 | 1) => Token} TokenClass */

/**
 * A list item that begins with `[ ]` or `[x]` is a task.
 * @param {Token[]} tokens
 * @param {TokenClass} TokenClass
 */
function markTasks(tokens, TokenClass) {
  tokens.forEach((token, n) => {
    if (token.type !== "inline" || tokens[n - 2]?.type !== "list_item_open" || tokens[n - 1]?.type !== "paragraph_open")
      return;
    const [first] = token.children ?? [];
    const mark = first?.type === "text" && /^\[([ xX])\](?=\s)/.exec(first.content);
    if (!mark) return;
    first.content = first.content.slice(mark[0].length);
    const box = new TokenClass("task", "input", 0);
    box.attrs = [
      ["type", "checkbox"],
      ["disabled", ""],
    ];
    if (mark[1] !== " ") box.attrs.push(["checked", ""]);
    token.children?.unshift(box);
  });
}
