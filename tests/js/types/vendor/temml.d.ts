// The browser's copy of Temml, which the build fetches, has the types of the package.
export { default } from "temml";
