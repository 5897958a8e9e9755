// Runs the suite in Firefox: node firefox.js <path of Firefox> <server> <samples.json>. Prints what fails as JSON.

import { readFile } from "node:fs/promises";
import { launch } from "puppeteer-core";

const [executablePath, server = "", samples = ""] = process.argv.slice(2);
const browser = await launch({
  browser: "firefox",
  executablePath,
  headless: true,
  // Deadlines rather than delays: the machine may be busy with other tests.
  timeout: 120_000,
  protocolTimeout: 280_000,
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(120_000);
  await page.goto(server);
  const found = await page.evaluate(
    async (origin, texts) => (await import("/tests/engine-suite.js")).failures(origin, texts),
    server,
    JSON.parse(await readFile(samples, "utf8")),
  );
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
}
