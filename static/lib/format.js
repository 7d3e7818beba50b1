// Numbers, amounts and times as the reader's language writes them.
;(() => {
  const NOTHING = '–'
  // What "20 seconds ago" is measured by: it moves while a page is open.
  const clock = Vue.reactive({now: Date.now()})
  const locale = () => window.i18n.global.locale

  // Codes of LNbits' language menu that Intl does not know by that name.
  const INTL = {
    jp: 'ja',
    cn: 'zh',
    br: 'pt-BR',
    kr: 'ko',
    we: 'cy',
    pi: 'en',
    en: undefined
  }
  function intl() {
    const code = locale()
    if (code in INTL && INTL[code]) return INTL[code]
    const own = navigator.language || 'en'
    return own.startsWith(code) ? own : code
  }

  function number(value, options) {
    if (value === null || value === undefined || value === '') return NOTHING
    return new Intl.NumberFormat(intl(), options).format(Number(value))
  }

  const sats = value =>
    value === null || value === undefined ? NOTHING : `${number(value)} sat`

  // ISO 4217's currencies without decimals; base/currencies.py has the same.
  const NO_DECIMALS =
    'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'.split(
      ' '
    )
  const decimalsOf = code => (NO_DECIMALS.includes(code) ? 0 : 2)

  // Part of a unit that has none is shown: it must not be hidden from who looks.
  function fiat(value, code) {
    if (value === null || value === undefined || value === '') return NOTHING
    const places = Number(value) % 1 ? 2 : decimalsOf(code)
    const digits = {
      minimumFractionDigits: places,
      maximumFractionDigits: places
    }
    if (!/^[A-Z]{3}$/.test(code || '')) {
      return `${number(value, digits)} ${code || ''}`.trim()
    }
    return number(value, {
      style: 'currency',
      currency: code,
      currencyDisplay: 'code',
      ...digits
    })
  }

  // "0.0325" -> "3.25 %"
  const percent = fraction =>
    fraction === null || fraction === undefined
      ? NOTHING
      : number(fraction, {style: 'percent', maximumFractionDigits: 2})

  const toPercent = fraction =>
    String(Math.round(Number(fraction || 0) * 10000) / 100)

  const parse = iso =>
    iso ? new Date(/(Z|[+-]\d\d:?\d\d)$/.test(iso) ? iso : `${iso}Z`) : null

  function time(iso, options) {
    const at = parse(iso)
    if (!at || isNaN(at)) return NOTHING
    return new Intl.DateTimeFormat(intl(), {
      timeZone: zone(),
      ...(options || {dateStyle: 'medium', timeStyle: 'short'})
    }).format(at)
  }
  const zone = () => window.satmachine.store?.zone
  // The day that it is for the reader, and others: YYYY-MM-DD.
  const today = () => dayIn(clock.now)
  const dayIn = at =>
    new Intl.DateTimeFormat('en-CA', {timeZone: zone()}).format(at)
  // The days that a moment, and one that ends something, fall on: '' for none.
  const firstDay = iso => (iso ? dayIn(parse(iso)) : '')
  const lastDay = iso => (iso ? dayIn(new Date(parse(iso) - 1)) : '')
  // The zone's distance from UTC at a moment, in milliseconds.
  function offsetAt(ms) {
    const parts = Object.fromEntries(
      new Intl.DateTimeFormat('en-CA', {
        timeZone: zone(),
        hourCycle: 'h23',
        year: 'numeric',
        month: '2-digit',
        day: '2-digit',
        hour: '2-digit',
        minute: '2-digit',
        second: '2-digit'
      })
        .formatToParts(ms)
        .map(({type, value}) => [type, Number(value)])
    )
    const {year, month, day, hour, minute, second} = parts
    return Date.UTC(year, month - 1, day, hour, minute, second) - ms
  }
  // The moments at which a day of the reader's begins and is over. The distance is
  // that of the moment itself: clocks may have been changed since UTC's midnight.
  function momentOf(midnight) {
    const near = midnight - offsetAt(midnight)
    return new Date(midnight - offsetAt(near)).toISOString()
  }
  const DAY_MS = 86400000
  const startOf = day => momentOf(Date.parse(`${day}T00:00:00Z`))
  const endOf = day => momentOf(Date.parse(`${day}T00:00:00Z`) + DAY_MS)
  // Of trades and payments, many of which are of one minute.
  const second = iso => time(iso, {dateStyle: 'medium', timeStyle: 'medium'})
  // To the second, with the zone: what a pointer over "9 seconds ago" is told.
  const exactly = iso => time(iso, {dateStyle: 'medium', timeStyle: 'long'})
  const day = iso =>
    iso && iso.length === 10
      ? time(`${iso}T12:00:00Z`, {
          day: 'numeric',
          month: 'short',
          timeZone: 'UTC'
        })
      : time(iso, {dateStyle: 'medium'})

  const STEPS = [
    ['day', 86400],
    ['hour', 3600],
    ['minute', 60],
    ['second', 1]
  ]
  // Nothing that was is in the future, whatever this device's clock says, nor the
  // other way round: `until` is for what comes.
  const ago = iso => distance(iso, seconds => Math.min(0, seconds))
  const until = iso => distance(iso, seconds => Math.max(0, seconds))
  function distance(iso, within) {
    const at = parse(iso)
    if (!at || isNaN(at)) return NOTHING
    const seconds = within(Math.round((at - clock.now) / 1000))
    const [unit, size] = STEPS.find(
      ([name, step]) => name === 'second' || Math.abs(seconds) >= step
    )
    return new Intl.RelativeTimeFormat(intl(), {numeric: 'auto'}).format(
      Math.round(seconds / size),
      unit
    )
  }

  const short = text =>
    text && text.length > 20 ? `${text.slice(0, 10)}…${text.slice(-6)}` : text

  window.satmachine.clock = clock
  window.satmachine.format = {
    NOTHING,
    number,
    sats,
    fiat,
    decimalsOf,
    percent,
    toPercent,
    parse,
    time,
    day,
    ago,
    until,
    today,
    firstDay,
    lastDay,
    startOf,
    endOf,
    exactly,
    second,
    short
  }
})()
