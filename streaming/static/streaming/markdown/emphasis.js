// Emphasis next to Chinese, Japanese and Korean text, as in the markdown-cjk-friendly specification.

/** @typedef {import("./dialect.js").Markdown} Markdown */

// East Asian Wide, Fullwidth or Halfwidth (Unicode Standard Annex 11), or Hangul, but not emoji.
const WIDE =
  "(?!\\p{Emoji_Presentation})[\\p{sc=Hangul}\\u2329\\u232a⺀-〾ぁ-㉇㉐-꓆\\uf900-\\ufaff︐-︙︰-﹫！-￮\\u{16fe0}-\\u{1b2fb}\\u{1f200}-\\u{1f265}\\u{20000}-\\u{3fffd}]";

/** A CJK character or CJK punctuation. */
export const CJK = new RegExp(`^${WIDE}`, "u");
// With a variation selector after it, which makes even “ and ” wide.
const CJK_BEFORE = new RegExp(`(?:${WIDE}[\\ufe00-\\ufe0e]?|[\\u{e0100}-\\u{e01ef}]|[‘’“”]\\ufe01)$`, "u");

/**
 * CommonMark's rules for `**` depend on spaces, which these scripts do not use. Next to one of their characters, `*` and
 * `~` can both open and close emphasis unless there is a space on that side.
 * @param {Markdown} md
 */
export function emphasizeBesideCJK(md) {
  md.inline.State = class extends md.inline.State {
    /**
     * @param {number} start
     * @param {boolean} canSplitWord
     */
    scanDelims(start, canSplitWord) {
      const scanned = super.scanDelims(start, canSplitWord);
      const before = this.src.slice(Math.max(0, start - 3), start);
      const after = this.src.slice(start + scanned.length, this.posMax);
      if (canSplitWord && /\S$/.test(before) && /^\S/.test(after) && (CJK_BEFORE.test(before) || CJK.test(after)))
        scanned.can_open = scanned.can_close = true;
      return scanned;
    }
  };
}
