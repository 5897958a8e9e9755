// Runs OpenAI's official client against a site whose address is the first argument; tests/test_completions.py reads what it prints.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "whatever", maxRetries: 0, timeout: 60_000 });
/** @type {OpenAI.ChatCompletionMessageParam[]} */
const messages = [{ role: "user", content: "Hello" }];

/** @param {() => Promise<unknown>} act */
async function error(act) {
  try {
    await act();
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error;
    throw error;
  }
  throw new Error("it should have failed");
}

const runner = client.chat.completions.stream({ model: "one", messages, stream_options: { include_usage: true } });
const answer = await runner.finalChatCompletion();
const [choice] = answer.choices;
const [call] = choice?.message.tool_calls ?? [];
console.log("text", choice?.message.content);
if (call?.type === "function") console.log("call", call.function.name, call.function.arguments);
console.log("usage", answer.usage?.total_tokens);
console.log("finish", choice?.finish_reason);

const whole = await client.chat.completions.create({ model: "simulated", messages });
console.log("whole", (whole.choices[0]?.message.content ?? "").includes("••••"));

const blocked = await error(() =>
  client.chat.completions.create({ model: "one", messages: [{ role: "user", content: "forbidden" }] }),
);
console.log("blocked", blocked.status, blocked.code);
const missing = await error(() => client.chat.completions.create({ model: "none", messages }));
console.log("missing", missing.status, missing.code);
const wrong = await error(() => client.chat.completions.create({ model: "one", messages, n: 0 }));
console.log("wrong", wrong.status, wrong.param);

let count = 0;
for await (const chunk of await client.chat.completions.create({ model: "simulated", messages, stream: true })) {
  count += chunk.choices.length;
  break; // which leaves the stream
}
console.log("left", count);

const names = [];
for await (const model of client.models.list()) names.push(model.id);
console.log("models", ...names);
