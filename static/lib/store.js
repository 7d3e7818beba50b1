// What every screen shares: who is looking, the names of machines, and a
// number that moves when the server says that something changed.
;(() => {
  const {api, clock} = window.satmachine
  const POLL_MS = 5000
  // Silence changes no row: what is shown is read again after so long, too, and
  // sooner where the last try was refused.
  const REREAD_MS = 60000
  const REREAD_BEHIND_MS = 20000

  const store = Vue.reactive({
    me: null,
    machines: [],
    otherMachines: [],
    platform: null,
    lpMachines: [],
    version: 0,
    // Which parts show something older than they should, and why.
    stale: new Map(),
    // Which parts hold something typed that is not saved.
    unsaved: new Set(),
    all: false
  })
  let seen = null
  let readAt = Date.now()
  let timer = null
  let asking = false

  async function loadMe() {
    const first = store.me === null
    store.me = await api.get('/me')
    // Who has no machines of their own looks at everybody's.
    if (first) store.all = store.me.super && !store.me.operator
    return store.me
  }

  async function loadMachines() {
    const params = {sortby: 'name', direction: 'asc'}
    const own = await api.all('/machines', params)
    store.machines = own
    // The same on every machine: what the form for a new one adds its fees to.
    const [any] = own
    store.platform = any && {
      out: any.platform_cash_out_fee_fraction,
      in: any.platform_cash_in_fee_fraction
    }
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
  }

  async function poll() {
    clock.now = Date.now()
    if (document.visibilityState !== 'visible' || asking) return
    asking = true
    try {
      const {version} = await api.get('/changes')
      const most = store.stale.size ? REREAD_BEHIND_MS : REREAD_MS
      const isOld = Date.now() - readAt >= most
      if (isOld || (seen !== null && version !== seen)) readAgain()
      seen = version
    } catch (error) {
      // Offline or restarting: the next round asks again, the page stays.
      if (error.status === 401) stop()
    } finally {
      asking = false
    }
  }

  function start() {
    stop()
    poll()
    timer = setInterval(poll, POLL_MS)
    document.addEventListener('visibilitychange', poll)
  }

  function stop() {
    clearInterval(timer)
    document.removeEventListener('visibilitychange', poll)
  }

  window.satmachine.store = store
  window.satmachine.machine = machine
  window.satmachine.machineStatus = machineStatus
  window.satmachine.live = {start, stop, readAgain, loadMe, loadMachines}
})()
