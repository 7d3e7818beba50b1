// What every screen shares: who is looking, the names of machines, and a
// number that moves when the server says that something changed.
;(() => {
  const {api} = window.satmachine
  const POLL_MS = 5000

  const store = Vue.reactive({
    me: null,
    machines: [],
    machinesTotal: 0,
    version: 0,
    all: false
  })
  let seen = null
  let timer = null
  let asking = false

  async function loadMe() {
    store.me = await api.get('/me')
    return store.me
  }

  async function loadMachines() {
    const params = {limit: 100, sortby: 'name', direction: 'asc'}
    const page = await api.get('/machines', params)
    store.machines = page.data
    store.machinesTotal = page.total
    return page.data
  }

  async function poll() {
    if (document.visibilityState !== 'visible' || asking) return
    asking = true
    try {
      const {version} = await api.get('/changes')
      if (seen !== null && version !== seen) store.version += 1
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
  window.satmachine.live = {start, stop, loadMe, loadMachines}
})()
