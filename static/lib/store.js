// What every screen shares: who is looking, the names of machines, and a
// number that moves when the server says that something changed.
;(() => {
  const {api, clock} = window.satmachine
  const POLL_MS = 5000
  // Silence changes no row: what is shown is read again after so long, too, and
  // sooner where the last try was refused.
  const REREAD_MS = 60000
  const REREAD_BEHIND_MS = 20000
  // Who has not answered by then does not answer.
  const ANSWER_MS = 10000

  // For whom somebody acted last, kept on this device.
  const KEPT = 'satmachine.acting'

  const store = Vue.reactive({
    // Who is logged in, and what they may do here: the same, or, while they work for
    // an operator, that operator's desk within their role.
    person: null,
    me: null,
    // The row of /me's acting_for they act by; null: for themselves.
    acting: null,
    // For whom they work no more, to be told.
    dismissedBy: null,
    // Above so many sats only the operator says where a refund goes; null: no limit.
    refundLimit: null,
    machines: [],
    otherMachines: [],
    platform: null,
    lpMachines: [],
    version: 0,
    // Which parts show something older than they should, and why.
    stale: new Map(),
    // Since when nobody answers, as a time of this device; what is shown is from then.
    lostSince: null,
    // The session is over; whatever is shown stays until somebody logs in again.
    loggedOut: false,
    // Something is being deleted: nothing is read meanwhile.
    ending: false,
    // Which parts hold something typed that is not saved.
    unsaved: new Set(),
    all: false,
    // Whose days are meant, by IANA's name: what the reader chose, or the browser's.
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC',
    // As it was chosen; null: never, '' until it is known.
    chosenZone: ''
  })
  let seen = null
  let readAt = Date.now()
  let timer = null
  let asking = false

  async function loadMe() {
    const first = store.me === null
    const person = await api.get('/me')
    store.person = person
    take(first ? remembered(person) : stillThere(person))
    // Who has no machines of their own looks at everybody's.
    if (first) store.all = store.me.super && !store.me.operator
    return store.me
  }

  const keptFor = ({user_id}) => `${KEPT}.${user_id}`

  // As it was left; at first whoever has nothing of their own is at work.
  function remembered(person) {
    const kept = localStorage.getItem(keptFor(person))
    const found = person.acting_for.find(({id}) => id === kept)
    if (found) return found
    const {operator, lp, enrolled} = person
    const hasOwn = operator || lp || enrolled || person.super
    return (kept !== 'self' && !hasOwn && person.acting_for[0]) || null
  }

  function stillThere({acting_for}) {
    if (!store.acting) return null
    const found = acting_for.find(({id}) => id === store.acting.id)
    if (!found) store.dismissedBy = store.acting.name
    return found || null
  }

  function take(acting) {
    const {person} = store
    // The same on every machine: what the form for the first adds its fees to.
    store.platform = {
      out: person.platform_cash_out_fee_fraction,
      in: person.platform_cash_in_fee_fraction
    }
    store.acting = acting
    store.me = acting
      ? {...person, super: false, operator: true, lp: false, enrolled: false}
      : person
  }

  // Another desk: nothing of the one before is shown on it.
  async function actFor(id) {
    const {person} = store
    store.dismissedBy = null
    localStorage.setItem(keptFor(person), id || 'self')
    take(person.acting_for.find(one => one.id === id) || null)
    await atAnotherDesk()
  }

  async function atAnotherDesk() {
    store.machines = []
    store.otherMachines = []
    store.lpMachines = []
    store.unsaved.clear()
    store.stale.clear()
    store.all = store.me.super && !store.me.operator
    await loadPreferences()
    if (store.me.operator || store.me.super) await loadMachines()
    readAgain()
  }

  // Whether the reader's role includes a route, by its name in api/rights.py.
  function can(route) {
    const {acting} = store
    if (!acting) return true
    return (window.satmachine.rights[route] || []).includes(acting.role)
  }

  async function loadPreferences() {
    const {time_zone, staff_refund_limit_sats} = await api.get('/preferences')
    store.refundLimit = staff_refund_limit_sats
    store.chosenZone = time_zone
    if (time_zone) store.zone = time_zone
  }

  async function chooseZone(zone) {
    await api.put('/preferences', {time_zone: zone})
    store.chosenZone = store.zone = zone
    readAgain()
  }

  async function loadMachines() {
    const params = {sortby: 'name', direction: 'asc'}
    const own = await api.all('/machines', params)
    store.machines = own
    if (store.me?.super) {
      const all = await api.all('/machines', {...params, scope: 'all'})
      const ids = new Set(own.map(({id}) => id))
      store.otherMachines = all.filter(({id}) => !ids.has(id))
    }
  }

  // Machines that use LNbits' HTTP API need no pairing: their wallet's key
  // proves them, and their settlements are all that is heard of them.
  function machineStatus(one) {
    if (!one.is_active) return 'inactive'
    if (one.is_paired || one.last_seen_at) return one.status
    return one.last_settlement_at ? 'keyed' : 'unpaired'
  }

  // Any machine the reader may know of: their own, the platform's, their LP's.
  const machine = id =>
    [...store.machines, ...store.otherMachines, ...store.lpMachines].find(
      one => one.id === id
    )

  function readAgain() {
    readAt = Date.now()
    store.version += 1
    // another role counts from now on, too
    if (store.acting) loadMe().catch(() => null)
  }

  // How far this device's clock is from the server's: ages go by the server's.
  let skew = 0
  let failures = 0
  let answeredAt = Date.now()

  function heard(now) {
    const wasLost = store.lostSince || store.loggedOut
    answeredAt = Date.now()
    skew = now ? Date.parse(now) - answeredAt : 0
    clock.now = answeredAt + skew
    failures = 0
    store.lostSince = null
    store.loggedOut = false
    if (wasLost) readAgain()
  }

  async function unheard({status}) {
    if (status === 401) {
      store.loggedOut = true
      return
    }
    // removed, or with another role: what they may is asked anew
    if (status === 403 && store.acting) {
      const {id} = store.acting
      await loadMe()
      if (store.acting?.id !== id) await atAnotherDesk()
      return
    }
    failures += 1
    if (failures > 1 || !navigator.onLine) store.lostSince ??= answeredAt
  }

  async function poll() {
    clock.now = Date.now() + skew
    if (document.visibilityState !== 'visible' || asking || store.ending) return
    asking = true
    try {
      const {version, now} = await api.get('/changes', undefined, ANSWER_MS)
      heard(now)
      const most = store.stale.size ? REREAD_BEHIND_MS : REREAD_MS
      const isOld = Date.now() - readAt >= most
      if (isOld || (seen !== null && version !== seen)) readAgain()
      seen = version
    } catch (error) {
      // Offline, restarting or logged out: the next round asks again, the page stays.
      await unheard(error).catch(() => null)
    } finally {
      asking = false
    }
  }

  async function again() {
    await poll()
    if (!store.lostSince) readAgain()
  }

  // Deletes a thing and leaves its screen: what is being read of it is awaited, and
  // nothing more is read of what will not be there.
  async function ending(work) {
    store.ending = true
    try {
      await api.settled()
      store.unsaved.clear()
      await work()
    } finally {
      store.ending = false
    }
  }

  function start() {
    stop()
    poll()
    timer = setInterval(poll, POLL_MS)
    document.addEventListener('visibilitychange', poll)
    window.addEventListener('online', poll)
    window.addEventListener('offline', poll)
  }

  function stop() {
    clearInterval(timer)
    document.removeEventListener('visibilitychange', poll)
    window.removeEventListener('online', poll)
    window.removeEventListener('offline', poll)
  }

  window.satmachine.store = store
  window.satmachine.machine = machine
  window.satmachine.machineStatus = machineStatus
  window.satmachine.can = can
  window.satmachine.live = {
    start,
    stop,
    readAgain,
    again,
    ending,
    heard,
    loadMe,
    actFor,
    loadMachines,
    loadPreferences,
    chooseZone
  }
})()
