// Texts for scripts are in the page's template, so that they are translated with all others.

/**
 * @param {string} name
 * @param {Record<string, string | number>} [values]  values for the placeholders in braces
 */
export function word(name, values = {}) {
  const words = /** @type {HTMLTemplateElement} */ (document.getElementById("words"));
  const text = words.content.querySelector(`[data-word="${name}"]`)?.textContent ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
}

/**
 * Parses a JSON object; null for anything else.
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
