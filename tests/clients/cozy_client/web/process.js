// What bundlers give packages that ask node for its environment.
export const process = { env: { NODE_ENV: 'production' }, browser: true, nextTick: queueMicrotask }
