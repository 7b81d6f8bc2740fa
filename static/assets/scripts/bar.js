// The bar above apps that bring none of their own, under the name that they call it by: `cozy.bar` (docs/http/app-hosts.md).
(() => {
  const words = {
    en: { menu: 'My apps', home: 'Home', devices: 'Devices', out: 'Log out' },
    fr: { menu: 'Mes applications', home: 'Accueil', devices: 'Appareils', out: 'Se déconnecter' },
    de: { menu: 'Meine Apps', home: 'Startseite', devices: 'Geräte', out: 'Abmelden' },
    es: { menu: 'Mis aplicaciones', home: 'Inicio', devices: 'Dispositivos', out: 'Cerrar sesión' }
  }
  const slots = {}
  for (const name of ['Left', 'Center', 'Right', 'Search']) slots[name] = made('div', { className: `coz-bar-${name.toLowerCase()}` })
  const bar = made('header', { className: 'coz-bar' })
  let given = {}

  function made(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties)
    element.append(...children)
    return element
  }

  const at = path => `${location.protocol}//${given.domain}${path}`

  /** What the page knows: one attribute with everything, or one for each thing, as older pages have it. */
  function read(root) {
    const old = root.dataset
    const all = old.cozy ? JSON.parse(old.cozy) : { token: old.cozyToken, domain: old.cozyDomain, locale: old.cozyLocale }
    return { isLoggedIn: Boolean(all.token), ...all, app: all.app ?? { name: old.cozyAppName, icon: old.cozyIconPath } }
  }

  /** An answer of her cloud; null: there is none. */
  function ask(method, path) {
    const headers = { Authorization: `Bearer ${given.token}`, Accept: 'application/vnd.api+json' }
    return fetch(at(path), { method, credentials: 'include', headers }).catch(() => null)
  }

  function link(href, text, icon) {
    const image = icon ? [made('img', { src: icon, alt: '', width: 24, height: 24 })] : []
    return made('li', {}, made('a', { href }, ...image, text))
  }

  /** Her apps but Home, which is there already; an app that may not know them shows the way home alone. */
  async function apps() {
    const answer = await ask('GET', '/apps/')
    const { data } = answer?.ok ? await answer.json() : { data: [] }
    return data.filter(app => app.links.related && app.attributes.slug !== 'home').map(app => link(app.links.related, app.attributes.name, at(app.links.icon ?? '')))
  }

  async function leave(event) {
    event.preventDefault()
    await ask('DELETE', '/auth/login')
    location.href = at('/')
  }

  function menu() {
    const say = words[given.locale] ?? words.en
    const out = link(at('/auth/login'), say.out)
    out.firstChild.onclick = leave
    const list = made('ul', {}, link(at('/'), say.home), link(at('/sync/'), say.devices), out)
    const opened = made('details', { className: 'coz-bar-menu' }, made('summary', {}, say.menu), list)
    opened.addEventListener('toggle', async () => list.children[0].after(...(await apps())), { once: true })
    opened.onkeydown = event => {
      if (event.key !== 'Escape') return
      opened.open = false
      opened.firstChild.focus()
    }
    return opened
  }

  function draw(options) {
    const name = [options.appNamePrefix, options.appName ?? given.app.name].filter(Boolean).join(' ')
    const icon = options.iconPath ?? given.app.icon
    const image = icon ? [made('img', { src: icon, alt: '', width: 32, height: 32 })] : []
    const title = made('strong', { className: 'coz-bar-title' }, ...image, name)
    const isHers = given.isLoggedIn && !options.isPublic
    bar.replaceChildren(title, slots.Left, slots.Center, slots.Search, slots.Right, ...(isHers ? [menu()] : []))
    bar.lang = given.locale
  }

  /** What an app puts into a place of the bar: markup of its own, or nodes. */
  function set(name, content) {
    const place = slots[name]
    if (typeof content === 'string') place.innerHTML = content
    else place.replaceChildren(...[content].flat().filter(Boolean))
  }

  /** The same as a component of React: its children are drawn in the bar, by the app's own copy of the library. */
  function component(name) {
    function Place(props) {
      this.props = props
    }
    Place.displayName = `Bar${name}`
    Place.prototype.isReactComponent = {}
    Place.prototype.render = function () {
      const portal = Symbol.for('react.portal')
      return { $$typeof: portal, key: null, children: this.props.children, containerInfo: slots[name], implementation: null }
    }
    return Place
  }

  const api = {
    init(options = {}) {
      const root = document.querySelector('[role=application]')
      given = { ...read(root), ...(options.token ? { token: options.token } : {}) }
      given.locale = options.lang ?? given.locale ?? document.documentElement.lang
      draw(options)
      api.setLocale = lang => {
        given.locale = lang
        draw(options)
      }
      root.before(bar)
    },
    setLocale() {},
    setTheme: name => bar.classList.toggle('coz-bar-primary', name === 'primary'),
    updateAccessToken: token => Object.assign(given, { token })
  }
  for (const name of Object.keys(slots)) {
    api[`setBar${name}`] = content => set(name, content)
    api[`Bar${name}`] = component(name)
  }
  window.cozy = Object.assign(window.cozy ?? {}, { bar: api })
})()
