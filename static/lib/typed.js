// What people type for an amount, a rate, a percentage or a number of sats. The server
// reads the same (base/typed.py), and one table tests both (tests/support/typed.py).
;(() => {
  const GAP = /[ \t\u00a0\u2007\u2009\u202f'\u2019]/g
  const SHAPE = /^[0-9][0-9., \t\u00a0\u2007\u2009\u202f'\u2019]*$/
  const GROUPED = /^[1-9][0-9]{0,2}([.,_])[0-9]{3}(?:\1[0-9]{3})*$/
  const LONGEST = 60
  const {decimalsOf} = window.satmachine.format

  // The digits with their separators, gaps written `_`; '' for what is no number.
  function digitsOf(typed) {
    const text = String(typed ?? '').trim()
    if (text.length > LONGEST || !SHAPE.test(text)) return ''
    return text.replace(GAP, '_')
  }

  // Digits in groups of three, or in none, without their separators.
  function whole(digits) {
    if (/^[0-9]+$/.test(digits)) return digits
    return GROUPED.test(digits) ? digits.replace(/[.,_]/g, '') : null
  }
  const decimal = (units, places) =>
    units === null || !/^[0-9]+$/.test(places) ? null : `${units}.${places}`

  // {read} as plain decimal text, {ways} if there are two, or neither.
  function amount(typed) {
    const digits = digitsOf(typed)
    const marks = digits.match(/[.,]/g) || []
    if (!digits) return {}
    if (!marks.length) return {read: whole(digits)}
    if (marks.length === 1 && !digits.includes('_')) {
      const [units, places] = digits.split(/[.,]/)
      if (GROUPED.test(digits)) {
        return {ways: [`${units}${places}`, `${units}.${places.slice(0, 2)}`]}
      }
      return {read: decimal(whole(units), places)}
    }
    const last = marks[marks.length - 1]
    if (marks.filter(mark => mark === last).length > 1) {
      return {read: whole(digits)}
    }
    const at = digits.lastIndexOf(last)
    return {read: decimal(whole(digits.slice(0, at)), digits.slice(at + 1))}
  }

  const bare = text => text.replace(/^0+(?=\d)/, '')

  // With its two places, as the API wants it; null for what is no amount of `code`.
  function toAmount(typed, code) {
    const {read} = amount(typed)
    if (!read) return null
    const [units, places = ''] = read.split('.')
    const cents = places.replace(/0+$/, '')
    if (cents.length > decimalsOf(code)) return null
    return `${bare(units)}.${cents.padEnd(2, '0')}`
  }

  // Why not, in the reader's words; '' for an amount.
  function amountProblem(typed, code) {
    const say = (key, facts) =>
      window.i18n.global.t(`satmachine.common.${key}`, facts)
    const {read, ways} = amount(typed)
    if (ways) return say('two_readings', {one: ways[0], other: ways[1]})
    if (toAmount(typed, code) !== null) return ''
    if (read && !decimalsOf(code)) return say('whole_units', {code})
    return say('not_an_amount')
  }

  // A point is decimal, and a comma alone is refused; null for what is no number.
  function toNumber(typed) {
    const digits = digitsOf(typed)
    const at = digits.indexOf('.')
    if (!digits || (digits.includes(',') && at < 0)) return null
    if (at < 0) return whole(digits)
    return decimal(whole(digits.slice(0, at)), digits.slice(at + 1))
  }

  function toRate(typed) {
    const rate = toNumber(typed)
    return rate !== null && Number(rate) > 0 ? bare(rate) : null
  }

  // Separators of thousands only.
  function toSats(typed) {
    const digits = whole(digitsOf(typed))
    return digits === null ? null : Number(digits)
  }

  // What a person types as percent, as the decimal string the API wants.
  function toFraction(typed) {
    const read = toNumber(typed)
    if (read === null || !/^\d{1,3}(\.\d{1,2}0*)?$/.test(read)) return null
    return (Math.round(Number(read) * 100) / 10000).toFixed(4)
  }

  Object.assign(window.satmachine.format, {
    toAmount,
    amountProblem,
    toRate,
    toSats,
    toFraction
  })
})()
