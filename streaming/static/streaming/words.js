// The words that scripts say stand in the page, beside all the others, where a translator finds them.

/**
 * @param {string} name
 * @param {Record<string, string | number>} [values]  for the places in braces
 */
export function word(name, values = {}) {
  const words = /** @type {HTMLTemplateElement} */ (document.getElementById("words"));
  const text = words.content.querySelector(`[data-word="${name}"]`)?.textContent ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
}

/**
 * What a message holds, if it is an object.
 * @param {string} text
 * @returns {Record<string, unknown> | null}
 */
export function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
