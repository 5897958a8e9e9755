// The public API for reading event streams: other modules and other pages import from here.

export { FetchEventSource } from "./fetch-event-source.js";
export { fetchEvents } from "./fetch-events.js";
export { StreamError } from "./sse.js";
export { CutError, RefusedError } from "./stream-errors.js";

/** @typedef {import("./fetch-events.js").Options} Options */
/** @typedef {import("./fetch-events.js").Retry} Retry */
/** @typedef {import("./stream-errors.js").Problem} Problem */
