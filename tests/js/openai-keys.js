// OpenAI's client with an API key of this site: tests/test_limits.py reads what it prints of an answer and of errors.
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);

/** @param {string | undefined} key */
async function ask(key) {
  const client = new OpenAI({ baseURL, apiKey: key, maxRetries: 0, timeout: 60_000 });
  const completion = await client.chat.completions.create({ model: "m", messages: [{ role: "user", content: "hi" }] });
  return completion.choices[0]?.message.content;
}

/** @param {string | undefined} key */
async function refused(key) {
  try {
    await ask(key);
  } catch (error) {
    if (error instanceof OpenAI.APIError) return [error.status, error.code, error.constructor.name];
    throw error;
  }
  throw new Error("it should have failed");
}

const answer = await ask(apiKey);
console.log(JSON.stringify({ answer, limited: await refused(apiKey), unknown: await refused("streams-wrong") }));
