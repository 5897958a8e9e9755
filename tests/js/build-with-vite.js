// node build-with-vite.js <folder>: builds the page there into its dist/.

import { build } from "vite";

await build({ root: process.argv[2], configFile: false, logLevel: "warn" });
