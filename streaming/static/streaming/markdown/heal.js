// Shows incomplete Markdown as what it will most likely become, so that nothing flickers or disappears again. It works on
// markdown-it's delimiters, and only in the last inline text of an open tail (`env.open`): finished text is unaffected.

import { CJK } from "./emphasis.js";
import { isInFormula, readFormula } from "./math.js";
import { readNoteReference } from "./footnotes.js";
import { readTag } from "./inline-tags.js";

/** @typedef {import("./dialect.js").Markdown} Markdown */
/** @typedef {import("./dialect.js").Env} Env */
/** @typedef {import("../vendor/markdown-it.js").StateInline} StateInline */
/** @typedef {import("../vendor/markdown-it.js").Delimiter} Delimiter */

const ASTERISK = 0x2a;

/** @param {Markdown} md */
export function heal(md) {
  md.core.ruler.before("inline", "open_inline", ({ env, tokens }) => {
    if (!env.open) return;
    const last = tokens.findLastIndex(({ type, content }) => type === "inline" && content !== "");
    env.openInline = tokens[last];
    env.inParagraph = tokens[last - 1]?.type === "paragraph_open";
  });
  md.inline.ruler.before("escape", "formula", (state, silent) => readFormula(state, silent, isOpen(state)));
  md.inline.ruler.before("formula", "last_marks", hideLastCharacters);
  md.inline.ruler.before("autolink", "tag", (state, silent) => readTag(state, silent, isOpen(state)));
  md.inline.ruler.before("link", "note", readNoteReference);
  md.inline.ruler.before("backticks", "open_code", openCode);
  md.inline.ruler.before(
    "link",
    "open_link",
    (state, silent) => openLink(state, silent, md) || openReference(state, silent, md),
  );
  md.inline.ruler2.after("balance_pairs", "open_pairs", closeOpenPairs);
}

/**
 * Whether what is parsed may continue: it ends with the open text, not with the tag or the label that it is in.
 * @param {StateInline} state
 */
function isOpen({ env, tokens, posMax, src }) {
  const inline = /** @type {import("./dialect.js").Token | undefined} */ (env.openInline);
  return inline !== undefined && inline.children === tokens && posMax === src.length;
}

// The start or end of a formula, or a tag.
const LAST_CHARACTERS = /^(?:\\|\$\$?|<(?:\/?[a-z]{0,3}|br ?\/?))$/i;

/** @param {StateInline} state */
function hideLastCharacters(state) {
  const isHidden = isOpen(state) && LAST_CHARACTERS.test(state.src.slice(state.pos, state.posMax));
  if (isHidden) state.pos = state.posMax;
  return isHidden;
}

/**
 * Handles `code without its closing backticks.
 * @param {StateInline} state
 * @param {boolean} silent
 */
function openCode(state, silent) {
  if (!isOpen(state)) return false;
  const text = state.src.slice(state.pos, state.posMax);
  const [ticks] = /^`+/.exec(text) ?? [];
  if (!ticks) return false;
  const code = text.slice(ticks.length);
  if (new RegExp(`(?<!\`)${ticks}(?!\`)`).test(code)) return false;
  if (!silent && code) state.push("code_inline", "code", 0).content = withoutLastTicks(code);
  state.pos = state.posMax;
  return true;
}

/**
 * Drops backticks at the end, which may be an incomplete closing mark.
 * @param {string} code
 */
function withoutLastTicks(code) {
  let end = code.length;
  while (code[end - 1] === "`") end--;
  return end === code.length ? code : code.slice(0, end).trimEnd();
}

// A label may contain code and balanced brackets.
const LABEL = "((?:[^[\\]`]|`[^`]*(?:`|$)|\\[[^[\\]]*\\])*)";
// The text in a bracket is matched in one way only: otherwise many brackets within brackets would take forever.
const OPEN_LINK = new RegExp(`^(!?)\\[${LABEL}(?:\\](?:\\((?:[^()]|\\((?:[^()]*\\))?)*|\\[[^[\\]]*)?)?$`);
// What CommonMark 4.7 allows before the colon of a definition, and GitHub in a task's checkbox.
const MAY_BE_LABEL = /^\[(?:[^[\]\\]|\\.){0,999}\]?$/s;

/**
 * Handles [label](incomplete target and [label][incomplete name. Images, task checkboxes and definitions are not shown
 * until they are complete.
 * @param {StateInline} state
 * @param {boolean} silent
 * @param {Markdown} md
 */
function openLink(state, silent, md) {
  if (!isOpen(state) || state.linkLevel) return false;
  const found = OPEN_LINK.exec(state.src.slice(state.pos, state.posMax));
  if (!found) return false;
  const [text, image, label = ""] = found;
  if (text.endsWith("]") && state.env.references?.[md.utils.normalizeReference(label)]) return false;
  const isUndecided = state.pos === 0 && state.env.inParagraph && MAY_BE_LABEL.test(text);
  if (!silent && !image && !isUndecided && !/^\[\^[^\]]*$/.test(text)) pushLink(state, md, label);
  state.pos += text.length;
  return true;
}

// A number in brackets is a citation or an index rather than the name of a link.
const REFERENCE = /\[(?!\^)([^[\]]+)\](?:\[((?!\d+\])[^[\]]*)\])?(?!\()/y;

/**
 * [label][name] is assumed to be a link whose definition comes later. [name] is not; if its definition does arrive, the
 * brackets stay until the end, as text already shown must not disappear.
 * @param {StateInline} state
 * @param {boolean} silent
 * @param {Markdown} md
 */
function openReference(state, silent, md) {
  const { references = {}, bracketed } = /** @type {Env} */ (state.env);
  REFERENCE.lastIndex = state.pos;
  const found = !state.linkLevel && REFERENCE.exec(state.src);
  if (!bracketed || !found) return false;
  const [text, label = "", name] = found;
  const key = md.utils.normalizeReference(name || label);
  const target = references[key];
  if (!name && !target) bracketed.add(key);
  if (name ? target : !target || !bracketed.has(key)) return false;
  if (!silent) pushLink(state, md, label, name ? null : text.slice(label.length + 2), target?.href);
  state.pos += text.length;
  return true;
}

/**
 * @param {StateInline} state
 * @param {Markdown} md
 * @param {string} label
 * @param {string | null} [rest]  what follows the label's brackets, if they are shown
 * @param {string} [href]
 */
function pushLink(state, md, label, rest = null, href) {
  const { pos, posMax } = state;
  // An incomplete link with code or brackets in it may turn out not to be one: only its text is shown.
  const isPlain = href !== undefined || !/[`[]/.test(label);
  if (isPlain) state.push("link_open", "a", 1).attrs = href ? [["href", href]] : null;
  state.linkLevel++;
  if (rest !== null) state.pending += "[";
  state.pos = pos + 1;
  state.posMax = state.pos + label.length;
  md.inline.tokenize(state);
  if (rest !== null) state.pending += `]${rest}`;
  state.linkLevel--;
  if (isPlain) state.push("link_close", "a", -1);
  state.pos = pos;
  state.posMax = posMax;
}

/**
 * Handles **bold, *emphasis and ~~strike without their closing marks: marks at the very end are hidden, as their meaning
 * is not yet known; marks followed by text get the missing closing mark.
 * @param {StateInline} state
 */
function closeOpenPairs(state) {
  if (!isOpen(state)) return;
  const { delimiters, tokens } = state;
  const ends = new Set(delimiters.map(({ end }) => end));
  hideLastMarks(state, ends);
  for (const delimiter of openDelimiters(state, ends)) {
    const before = tokens[delimiter.token - 1]?.content ?? "";
    // 2*3 is more often a product than the beginning of emphasis; this is undecided until the word ends.
    if (delimiter.marker === ASTERISK && /[\p{L}\p{N}]$/u.test(before) && !CJK.test(before.slice(-1))) {
      const word = tokens.slice(delimiter.token);
      if (word.every(({ type, content }) => type === "text" && !/\s/.test(content)))
        for (const token of word) token.content = "";
      continue;
    }
    state.push("text", "", 0).content = tokens[delimiter.token]?.content ?? "";
    const closer = {
      marker: delimiter.marker,
      length: delimiter.length,
      token: tokens.length - 1,
      end: -1,
      open: false,
      close: true,
    };
    delimiter.end = delimiters.push(closer) - 1;
  }
}

/**
 * @param {StateInline} state
 * @param {Set<number>} ends
 */
function hideLastMarks({ delimiters, tokens }, ends) {
  const end = tokens.at(-1);
  // markdown-it treats a single ~ as text until the second one arrives.
  if (end?.type === "text" && delimiters.at(-1)?.token !== tokens.length - 1)
    end.content = end.content.replace(/~$/, "");
  for (let n = delimiters.length - 1, last = tokens.length - 1; n >= 0; n--, last--) {
    const delimiter = delimiters[n];
    const token = delimiter && tokens[delimiter.token];
    if (!token || delimiter.token !== last || delimiter.end !== -1 || ends.has(n)) return;
    token.content = "";
  }
}

/**
 * Opening delimiters that are not closed and not inside a closed pair; the last first.
 * @param {StateInline} state
 * @param {Set<number>} ends
 */
function openDelimiters({ delimiters, tokens }, ends) {
  let closed = -1;
  return delimiters
    .filter((delimiter, n) => {
      if (delimiter.end > n) closed = Math.max(closed, delimiter.end);
      return n > closed && delimiter.open && delimiter.end === -1 && tokens[delimiter.token]?.content && !ends.has(n);
    })
    .reverse();
}

// A last line that is only marks so far: it may become a heading, a list, a rule, a fence, a table, or text; or the label
// of a footnote, or the start of a formula. No two adjacent repetitions match the same character, which would make a long
// run of spaces quadratic.
const MARKS_ONLY =
  /(^|\n)[ \t>]*(?:\d+[.)][ \t]+)*(?:\[(?:\^[^[\]\s]*(?:\]:?\s*)?)?|[-=+*_#`~|:][-=+*_#`~|: \t]*|\d+[.)]?[ \t]*|(?:\$\$?|\\\[?)\s*)?$/;
// A link definition, which is never shown.
const DEFINITION =
  /((?:^\s*|\n[ \t>]*\n|\n[ >]*\[[^[\]\n]+\]:[^\n]*\n))[ >]*\[(?:[^[\]\n^][^[\]\n]*\]:\s*(?:<[^<>\n]*>?|[^\s<]\S*)?(?:\s+(?:"[^"]*"?|'[^']*'?|\([^()]*\)?)?)?[ \t]*)$/;
// The first line of a possible table; a line directly above it is not a row.
const TABLE_HEAD = /(?:^|(?:^|\n)(?![ \t>]*\|)[^\n]*\n)([ >]*)(\|[^\n]*)(\n?)$/;
const IN_SENTENCE = /^\|[ \t]*[^\s\-+*#>=~\d]/;
const BLANK_END = /\n[ \t>]*\n[ \t>]*$/;
const FENCE = /^[ \t>]*(?:(?:[-+*]|\d+[.)])[ \t]+)*(?:`{3,}|~{3,})/gm;

/**
 * Returns the part of an open tail to show, and whether its last inline text is open.
 * @param {string} tail
 * @returns {{ text: string, open: boolean }}
 */
export function presentable(tail) {
  const text = tail.replace(MARKS_ONLY, "$1").replace(DEFINITION, "$1");
  if (BLANK_END.test(text) || isInFence(text)) return { text, open: false };
  const [row, quote = "", line = "", newline = ""] = (!isInFormula(text) && TABLE_HEAD.exec(text)) || [];
  if (row === undefined) return { text, open: true };
  const above = text.slice(0, text.length - line.length - newline.length);
  const bars = line.split("|").length - 1;
  // A single pipe may be part of a sentence until the delimiter row of a table begins.
  if (bars === 1 && IN_SENTENCE.test(line) && !/[-:]/.test(tail.slice(text.length)))
    return { text: `${above.replace(/\n[ >]*$/, "\n$&")}${line.slice(1).trimStart()}${newline}`, open: true };
  const isClosed = line.trimEnd().endsWith("|");
  const cells = Math.max(1, isClosed ? bars - 1 : bars);
  return { text: `${above}${isClosed ? line : `${line}|`}\n${quote}${"|-".repeat(cells)}|`, open: true };
}

/** Shows code as it arrives. @param {string} text */
function isInFence(text) {
  return (text.match(FENCE)?.length ?? 0) % 2 === 1;
}
