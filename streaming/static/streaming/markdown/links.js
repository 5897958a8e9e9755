// Bare links, which end where GitHub Flavored Markdown 6.9 says; and what any link may lead to.

/** @typedef {import("./dialect.js").Markdown} Markdown */

// Behind a host Chinese goes on without a space, and its punctuation is no part of a path.
const ADDRESS = /(?:\/\/)?[\w\xa1-\u1fff-]+(?:\.[\w\xa1-\u1fff-]+)*(?:[/?#:][^\s<、。〈-】！-／：-？“”‘’…]*)?/y;

/**
 * Links lead to places of a few kinds, or nowhere: what a scheme that is not listed does, nobody can know.
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
 * Punctuation at the end belongs to the sentence, a closing bracket only to one that opens in the link.
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
