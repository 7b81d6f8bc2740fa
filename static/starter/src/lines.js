// What the app does with lines, apart from the page and the server, so that it can be tested.

/** A line as it is kept; null when there is nothing in it. */
export const line = text => (text.trim() ? { text: text.trim(), at: new Date().toISOString() } : null)

/** The newest first. */
export const sorted = lines => [...lines].sort((a, b) => (b.at ?? '').localeCompare(a.at ?? ''))

/** How many there are, in words. */
export const counted = lines => (lines.length === 1 ? '1 line' : `${lines.length} lines`)
