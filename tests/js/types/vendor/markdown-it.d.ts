// The browser's copy of markdown-it, which the build fetches, has the types of the package's own module.
export { default } from "markdown-it/dist/markdown-it.mjs";
export type * from "markdown-it/dist/markdown-it.mjs";
