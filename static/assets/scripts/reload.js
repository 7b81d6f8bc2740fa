// On the page of an app that is being developed: it is loaded again when a file of its folder has changed.
const { stamp } = document.currentScript.dataset
setInterval(async () => {
  const answer = await fetch(location.href, { method: 'HEAD' }).catch(() => null)
  const now = answer?.headers.get('x-cozyd-stamp')
  if (now && now !== stamp) location.reload()
}, 1000)
