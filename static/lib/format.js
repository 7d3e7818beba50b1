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

  function fiat(value, code) {
    if (value === null || value === undefined || value === '') return NOTHING
    const digits = {minimumFractionDigits: 2, maximumFractionDigits: 2}
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

  // What a person types as percent, as the decimal string the API wants.
  function toFraction(percentText) {
    const text = String(percentText ?? '')
      .trim()
      .replace(',', '.')
    if (!/^\d{1,3}(\.\d{0,2})?$/.test(text)) return null
    return (Math.round(Number(text) * 100) / 10000).toFixed(4)
  }
  const toPercent = fraction =>
    String(Math.round(Number(fraction || 0) * 10000) / 100)

  // "1,000.50" and "1000,5" -> "1000.50"; null for what is no amount.
  function toAmount(text) {
    let digits = String(text ?? '').replace(/[\s\u00a0']/g, '')
    if (/,\d{1,2}$/.test(digits)) {
      digits = digits.replace(/\./g, '').replace(',', '.')
    }
    digits = digits.replace(/,/g, '')
    if (!/^\d+(\.\d{1,2})?$/.test(digits)) return null
    const [whole, cents = ''] = digits.split('.')
    return `${whole.replace(/^0+(?=\d)/, '')}.${cents.padEnd(2, '0')}`
  }

  const parse = iso =>
    iso ? new Date(/(Z|[+-]\d\d:?\d\d)$/.test(iso) ? iso : `${iso}Z`) : null

  function time(iso, options) {
    const at = parse(iso)
    if (!at || isNaN(at)) return NOTHING
    return new Intl.DateTimeFormat(
      intl(),
      options || {dateStyle: 'medium', timeStyle: 'short'}
    ).format(at)
  }
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
  function ago(iso) {
    const at = parse(iso)
    if (!at || isNaN(at)) return NOTHING
    const seconds = Math.round((at - clock.now) / 1000)
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
    percent,
    toFraction,
    toPercent,
    toAmount,
    parse,
    time,
    day,
    ago,
    short
  }
})()
