// The supported Markdown: CommonMark with tables, strikethrough, bare links, task lists, footnotes, alerts and
// formulas, and four HTML tags.

import MarkdownIt from "../vendor/markdown-it.js";
import { emphasizeBesideCJK } from "./emphasis.js";
import { readFormulaLines } from "./math.js";
import { heal } from "./heal.js";
import { isHarmless, linkBareAddresses } from "./links.js";
import { markParagraphs } from "./special-paragraphs.js";

export { isHarmless };

/** @typedef {import("../vendor/markdown-it.js").Token} Token */
/**
 * Options that depend on the surrounding page. copyLabel: label of the copy button of each code block (`Code` in code.js
 * handles it); taskLabels: labels of open and of completed tasks; noteLabel: what the number of a footnote is called;
 * headingOffset: the level of the heading above the text.
 * @typedef {{ copyLabel?: string, taskLabels?: [string, string], noteLabel?: string, headingOffset?: number }} Page
 */
/** `open`: the last inline text may continue; `bracketed`: see heal.js. @typedef {import("../vendor/markdown-it.js").Env & { bracketed?: Set<string> } & Page} Env */
/** @typedef {import("../vendor/markdown-it.js").MarkdownIt} Markdown */

/** @returns {Markdown} */
export function createMarkdown() {
  const md = MarkdownIt({ html: false, linkify: true });
  md.validateLink = isHarmless;
  // Bare addresses are shown as they were written, as in CommonMark, and as they were moderated: not decoded.
  md.normalizeLinkText = (text) => text;
  emphasizeBesideCJK(md);
  linkBareAddresses(md);
  markParagraphs(md);
  md.block.ruler.before("fence", "formula", readFormulaLines, {
    alt: ["paragraph", "reference", "blockquote", "list"],
  });
  md.core.ruler.push("code", (state) => {
    state.tokens = state.tokens.flatMap((token) => spreadCode(token, state));
  });
  md.core.ruler.push("headings", ({ tokens, env }) => {
    const { headingOffset = 0 } = /** @type {Env} */ (env);
    for (const token of headingOffset ? tokens : [])
      if (token.type === "heading_open") token.attrSet("aria-level", String(headingOffset + Number(token.tag[1])));
  });
  md.core.ruler.push("images", ({ tokens, env }) => {
    for (const { children } of tokens)
      for (const token of children ?? []) if (token.type === "image") nameImage(token, md, env);
  });
  heal(md);
  return md;
}

/**
 * Renders a code block as element tokens, like other blocks, because it may be shown in parts; with a copy button if
 * there is a label for it.
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
 * Shows an image as a link with its alternative text, because the page loads nothing from other sites. An image without
 * alternative text is omitted.
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
