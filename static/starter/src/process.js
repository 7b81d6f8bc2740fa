// Some packages look at node's environment.
export const process = { env: { NODE_ENV: 'production' }, browser: true, nextTick: queueMicrotask }
