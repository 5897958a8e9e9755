// Syntax highlighting with the CSS Custom Highlight API: the code stays one text node, which may continue to grow. A small
// lexer recognises what most languages share: comments, strings, numbers, keywords, and called names.

/** @typedef {"comment" | "string" | "number" | "keyword" | "name"} Kind */
/** @typedef {{ kind: Kind | null, start: number, end: number }} Lexeme */

const C_WORDS =
  "abstract as async await auto bool boolean break byte case catch char class const constexpr continue crate debugger default defer del delete do double dyn elif else enum export extends extern false final finally float fn for func function go goto if impl implements import in include instanceof int interface internal is let long loop match mod module move mut namespace new nil none null of operator override package private protected pub public range readonly ref return satisfies select self short signed sizeof static struct super switch template this throw throws trait true try type typedef typename typeof undefined union unsafe unsigned use using val var virtual void volatile where while with yield";
const PYTHON_WORDS =
  "False None True and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return self try while with yield";
const SHELL_WORDS =
  "case cd do done echo elif else esac exit export fi for function if in local read return set source sudo then unset until while";
const RUBY_WORDS =
  "alias and begin break case class def do else elsif end ensure false for if in include loop module new next nil not or puts raise redo require rescue retry return self super then true undef unless until when while yield";
const SQL_WORDS =
  "add all alter and as asc begin between by cascade case check column commit constraint create cross default delete desc distinct drop else end except exists false foreign from full group having if in index inner insert intersect into is join key left like limit not null offset on or order outer primary references returning right rollback select set table then true union unique update using values view when where with";
const DATA_WORDS = "true false null yes no on off";

const NUMBER = /\b(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\w*/;
const QUOTED = /"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?/;
const TICKED = /`(?:\\[^]|[^`\\])*`?/;
const TRIPLE = /"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)/;
const SLASHES = /\/\/[^\n]*|\/\*[^]*?(?:\*\/|$)/;
const HASH = /#[^\n]*/;
const HASH_AFTER_SPACE = /(?<![^\s;])#[^\n]*/;
const DASHES = /--[^\n]*|\/\*[^]*?(?:\*\/|$)/;
const CALLED = /[\p{L}_$][\p{L}\p{N}_$]*(?=\s*\()/u;
const WORD = /[\p{L}_$@][\p{L}\p{N}_$]*/u;

const C = lexer({ comment: [SLASHES], string: [TICKED, QUOTED], words: C_WORDS });
const LANGUAGES = {
  "c cc cpp h hpp cs csharp java js jsx mjs javascript ts tsx typescript go golang rust rs swift kotlin kt scala dart php json5 jsonc":
    C,
  "python py python3 pyi": lexer({ comment: [HASH], string: [TRIPLE, QUOTED], words: PYTHON_WORDS }),
  "sh bash shell zsh fish console dockerfile docker makefile make": lexer({
    comment: [HASH_AFTER_SPACE],
    string: [QUOTED],
    words: SHELL_WORDS,
    name: [/\$\{[^}\n]*\}?|\$[\w@#?*!-]+|(?<=\s)--?[a-zA-Z][\w-]*/],
  }),
  "ruby rb": lexer({ comment: [HASH], string: [QUOTED], words: RUBY_WORDS, name: [/:\w+|@\w+/, CALLED] }),
  "sql postgresql mysql sqlite": lexer({
    comment: [DASHES],
    string: [/'(?:''|[^'])*'?/],
    words: `${SQL_WORDS} ${SQL_WORDS.toUpperCase()}`,
  }),
  json: lexer({ comment: [], string: [], words: DATA_WORDS, name: [/"(?:\\.|[^"\\\n])*"(?=\s*:)/], late: [QUOTED] }),
  "yaml yml toml ini conf properties env": lexer({
    comment: [/(?<![^\s])[#;][^\n]*/],
    string: [QUOTED],
    words: DATA_WORDS,
    name: [/(?<=^|\n|\n[ \t-]*)[\w.-]+(?=\s*[:=])|\[[^\]\n]+\](?=\s*\n)/],
  }),
  "html xml svg vue svelte": lexer({
    comment: [/<!--[^]*?(?:-->|$)/],
    string: [/(?<==\s*)(?:"[^"]*"?|'[^']*'?)/],
    words: "",
    name: [/[\w:-]+(?=\s*=)/],
    keyword: [/<\/?[\w:-]+|\/?>/],
  }),
  "css scss less": lexer({
    comment: [SLASHES],
    string: [QUOTED],
    words: "",
    name: [/--[\w-]+|[\w-]+(?=\s*:)/],
    keyword: [/@[\w-]+|![a-z]+/],
  }),
  "diff patch": lexer({
    comment: [/(?<=^|\n)@@[^\n]*/],
    string: [/(?<=^|\n)\+[^\n]*/],
    words: "",
    keyword: [/(?<=^|\n)-[^\n]*/],
  }),
};

/** @type {Map<string, RegExp>} */
const lexers = new Map(
  Object.entries(LANGUAGES).flatMap(([names, found]) =>
    names.split(" ").map((name) => /** @type {const} */ ([name, found])),
  ),
);

/**
 * One regular expression for all lexemes of a language, with a group for each kind.
 * @param {{ comment: RegExp[], string: RegExp[], words: string, name?: RegExp[], keyword?: RegExp[], late?: RegExp[] }} language
 */
function lexer({ comment, string, words, name = [CALLED], keyword = [], late = [] }) {
  const reserved = words
    ? [new RegExp(`(?<![\\p{L}\\p{N}_$.@-])(?:${words.replaceAll(" ", "|")})(?![\\p{L}\\p{N}_$])`)]
    : [];
  const kinds = {
    comment,
    string: [...string],
    keyword: [...keyword, ...reserved],
    name,
    late,
    number: [NUMBER],
    plain: [WORD],
  };
  const groups = Object.entries(kinds).filter(([, expressions]) => expressions.length);
  return new RegExp(
    groups.map(([kind, expressions]) => `(?<${kind}>${expressions.map(({ source }) => source).join("|")})`).join("|"),
    "gu",
  );
}

/**
 * The lexemes of code, from an index at which one begins.
 * @param {string} code
 * @param {string} language
 * @param {number} [from]
 * @returns {Generator<Lexeme, void, undefined>}
 */
export function* lex(code, language, from = 0) {
  const expression = lexers.get(language.toLowerCase());
  if (!expression) return;
  expression.lastIndex = from;
  // Another lexer of the same language may run in between and move `lastIndex`.
  for (let found; (found = expression.exec(code));) {
    const end = expression.lastIndex;
    const [kind = "plain"] = Object.entries(found.groups ?? {}).find(([, text]) => text !== undefined) ?? [];
    yield {
      kind: /** @type {Kind | null} */ ({ late: "string", plain: null }[kind] ?? (kind === "plain" ? null : kind)),
      start: found.index,
      end,
    };
    expression.lastIndex = end;
  }
}

const KINDS = /** @type {const} */ (["comment", "string", "number", "keyword", "name"]);
// Longer code is not highlighted: all highlights on a page are painted together.
const LONGEST = 50_000;

/** The highlights of one block: lexemes up to `sure` cannot change; later ones are `open`. @typedef {{ length: number, sure: number, open: [Highlight, AbstractRange][] }} Progress */

export class Highlighter {
  /** @type {Map<Text, Progress>} */
  #progress = new Map();
  /** @type {Map<Kind, Highlight>} */
  #highlights = new Map();

  constructor() {
    for (const kind of KINDS) {
      const name = `code-${kind}`;
      const highlight = CSS.highlights.get(name) ?? new Highlight();
      CSS.highlights.set(name, highlight);
      this.#highlights.set(kind, highlight);
    }
  }

  /** @param {Element} root */
  refresh(root) {
    for (const code of root.querySelectorAll("code[class]")) {
      const text = code.firstChild;
      if (text instanceof Text && text.length !== this.#progress.get(text)?.length)
        this.#colour(text, code.className.replace("language-", ""));
    }
  }

  /** Removes highlights of text that has left the page. */
  forget() {
    for (const text of this.#progress.keys()) if (!text.isConnected) this.#progress.delete(text);
    for (const highlight of this.#highlights.values())
      for (const range of highlight) if (!range.startContainer.isConnected) highlight.delete(range);
  }

  /**
   * @param {Text} text
   * @param {string} language
   */
  #colour(text, language) {
    const { data } = text;
    const progress = this.#progress.get(text) ?? { length: 0, sure: 0, open: [] };
    for (const [highlight, range] of progress.open) highlight.delete(range);
    progress.open = [];
    progress.length = data.length;
    this.#progress.set(text, progress);
    const lastLine = data.lastIndexOf("\n") + 1;
    let { sure } = progress;
    for (const { kind, start, end } of data.length > LONGEST ? [] : lex(data, language, sure)) {
      // The last lexeme may still grow, and those on the last line may become part of another.
      const isSure = end < lastLine;
      if (isSure) sure = end;
      const highlight = kind && this.#highlights.get(kind);
      if (!highlight) continue;
      // StaticRange: not updated by the browser when the text grows.
      const range = new StaticRange({ startContainer: text, startOffset: start, endContainer: text, endOffset: end });
      highlight.add(range);
      if (!isSure) progress.open.push([highlight, range]);
    }
    progress.sure = sure;
  }
}
