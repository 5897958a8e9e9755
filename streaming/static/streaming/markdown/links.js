// Bare links, which end as GitHub Flavored Markdown 6.9 specifies, and the schemes that links may have.

/** @typedef {import("./dialect.js").Markdown} Markdown */

// Chinese text continues after a URL without a space; its punctuation is not part of the path.
const ADDRESS = /(?:\/\/)?[\w\xa1-\u1fff-]+(?:\.[\w\xa1-\u1fff-]+)*(?:[/?#:][^\s<、。〈-】！-／：-？“”‘’…]*)?/y;

/**
 * Allows only known schemes, because the effect of any other scheme is unknown.
 * @param {string} url
 */
export function isHarmless(url) {
  const scheme = /^\s*([a-z][a-z0-9+.-]*):/i.exec(url)?.[1];
  return scheme === undefined || ["http", "https", "mailto", "tel"].includes(scheme.toLowerCase());
}

/** @param {Markdown} md */
export function linkBareAddresses({ linkify }) {
  linkify.set({ fuzzyLink: false }).add("//", null).add("ftp:", null);
  for (const schema of ["http:", "https:"])
    linkify.add(schema, { validate: (text, start) => (text.startsWith("//", start) ? lengthOf(text, start) : 0) });
  linkify.add("www.", {
    validate: lengthOf,
    normalize: (link) => {
      link.url = `http://${link.url}`;
    },
  });
}

/**
 * The length of a link: punctuation at the end belongs to the sentence, as does a closing bracket without an opening one
 * in the link.
 * @param {string} text
 * @param {number} start
 */
function lengthOf(text, start) {
  ADDRESS.lastIndex = start;
  let url = ADDRESS.exec(text)?.[0] ?? "";
  for (let whole = ""; whole !== url;) {
    whole = url;
    url = url.replace(/(?:[?!.,:*_~'"]+|&\w+;)$/, "");
    if (url.endsWith(")") && url.split(")").length > url.split("(").length) url = url.slice(0, -1);
  }
  return url.length;
}
