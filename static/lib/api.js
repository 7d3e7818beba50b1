// Talks to /satmachineadmin/api/v1: a promise of the answer, or an Error whose
// message is the server's own sentence.
;(() => {
  const BASE = '/satmachineadmin/api/v1'

  function sentence(error) {
    const detail = error.response?.data?.detail
    if (typeof detail === 'string' && detail) {
      return window.satmachine.localize(detail)
    }
    if (Array.isArray(detail)) {
      return detail
        .map(one => `${(one.loc || []).slice(1).join(' ')}: ${one.msg}`)
        .join('; ')
    }
    const key = error.response ? 'server_error' : 'no_connection'
    return window.i18n.global.t(`satmachine.common.${key}`, {
      status: error.response?.status || ''
    })
  }

  // For whom this person acts, as the server names it; a page asks for one at a time.
  const ACTING = 'acting_for'
  const acting = () => window.satmachine.store?.acting?.id
  function headers() {
    const {person} = window.satmachine.store || {}
    if (!person?.acting_for.length) return {}
    return {'X-Acting-For': acting() || 'self'}
  }

  // What was asked and is not answered yet.
  const open = new Set()

  async function request(method, path, data, params, timeout = 0) {
    const url = BASE + path
    const asked = axios({
      method,
      url,
      data,
      params,
      timeout,
      headers: headers()
    })
    open.add(asked)
    try {
      return (await asked).data
    } catch (error) {
      const failure = new Error(sentence(error))
      failure.status = error.response?.status || 0
      // as it was said, before it was translated: what the page itself goes by
      failure.detail = String(error.response?.data?.detail || '')
      if (failure.status === 401) window.satmachine.store.loggedOut = true
      throw failure
    } finally {
      open.delete(asked)
    }
  }

  // Empty values are no filters: the server refuses a filter it cannot read.
  function query(params) {
    const kept = Object.entries(params || {}).filter(
      ([, value]) => value !== null && value !== undefined && value !== ''
    )
    return new URLSearchParams(kept).toString()
  }

  function link(path, params) {
    const text = query({...params, [ACTING]: acting()})
    return path + (text ? `?${text}` : '')
  }

  // Every row of a list, page after page.
  const MOST = 1000
  async function all(path, params) {
    const rows = []
    for (;;) {
      const asked = {...params, limit: MOST, offset: rows.length}
      const page = await request('GET', path, undefined, asked)
      rows.push(...page.data)
      if (!page.data.length || rows.length >= page.total) return rows
    }
  }

  window.satmachine.api = {
    all,
    get: (path, params, timeout) =>
      request('GET', path, undefined, params, timeout),
    settled: () => Promise.allSettled(open),
    post: (path, data) => request('POST', path, data || {}),
    put: (path, data) => request('PUT', path, data),
    delete: path => request('DELETE', path),
    // What a link asks for has no headers.
    url: (path, params) => link(BASE + path, params),
    page: (path, params) => link(`/satmachineadmin${path}`, params),
    // One key for one decision: a second click sends the same key again.
    newKey: () =>
      Array.from(crypto.getRandomValues(new Uint8Array(16)), byte =>
        byte.toString(16).padStart(2, '0')
      ).join('')
  }
})()
