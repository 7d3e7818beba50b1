// What the server says, in the reader's language. The API's sentences are
// English; i18n/sentences/ has their patterns and translations. A sentence
// nobody translated stays as it is.
//
// {name} in a pattern is whatever stands there, translated in its turn; a name
// that is a group of words (settlement_status, ...) gives the words of the code.
;(() => {
  const {format} = window.satmachine
  const TRANSLATED = ['es']
  const DEEPEST = 4
  // language -> patterns, the longest first: the most exact one decides.
  const tables = Vue.reactive({})
  const asked = {}
  let memory = new Map()

  const length = ({literals}) => literals.join('').length

  function compile([pattern, text]) {
    const names = [...pattern.matchAll(/\{(\w+)\}/g)].map(found => found[1])
    const literals = pattern.split(/\{\w+\}/)
    const parts = literals.map(one =>
      one.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
    )
    return {
      names,
      literals,
      text,
      longest: literals.reduce((a, b) => (b.length > a.length ? b : a), ''),
      regex: new RegExp(`^${parts.join('([^]+?)')}$`)
    }
  }

  async function load(language) {
    if (!TRANSLATED.includes(language) || asked[language]) return
    asked[language] = true
    const base = '/satmachineadmin/static/i18n/sentences'
    try {
      const url = LNbits.utils.url_for(`${base}/${language}.json`)
      const {data} = await axios.get(url)
      const table = Object.entries(data).map(compile)
      tables[language] = Vue.markRaw(
        table.sort((a, b) => length(b) - length(a))
      )
    } catch (error) {
      asked[language] = false
      console.warn(`The server's sentences stay English: ${error.message}`)
    }
  }

  function fill(value, name, table, depth) {
    const key = `satmachine.${name}.${value}`
    if (window.i18n.global.te(key)) return window.i18n.global.t(key)
    return translate(value, table, depth + 1)
  }

  function translate(text, table, depth = 0) {
    if (depth > DEEPEST) return text
    for (const {names, text: translation, longest, regex} of table) {
      const found = text.includes(longest) && regex.exec(text)
      if (found) {
        return translation.replace(/\{(\w+)\}/g, (mark, name) =>
          fill(found[names.indexOf(name) + 1], name, table, depth)
        )
      }
    }
    return text
  }

  // Whole sats and amounts as the reader's language writes them.
  const figures = text =>
    text
      .replace(
        /(^|[^\w.,])(\d{4,}) sat\b/g,
        (all, before, sats) => before + format.sats(sats)
      )
      .replace(
        /(^|[^\w.,])(\d+\.\d\d) ([A-Z]{3})\b/g,
        (all, before, amount, code) => before + format.fiat(amount, code)
      )

  // The API names fields and values as programs know them; people have words for them.
  const SAID = {null: 'common.empty', true: 'common.yes', false: 'common.no'}
  const GROUPS = ['field', 'tx_type', 'settlement_status', 'leg_type']
  function plain(text) {
    const {t, te} = window.i18n.global
    return text
      .replace(
        /(?<![\w@./-])[a-z]+(?:_[a-z]+)+(?![\w@./-]*[@/])/g,
        (code, at) => {
          const group = GROUPS.find(one => te(`satmachine.${one}.${code}`))
          if (!group) return code
          const words = t(`satmachine.${group}.${code}`)
          const begins = !at || /[.!?] $/.test(text.slice(0, at))
          return begins ? words.charAt(0).toUpperCase() + words.slice(1) : words
        }
      )
      .replace(/(?<=: |be |or )(null|true|false)\b/g, code =>
        t(`satmachine.${SAID[code]}`)
      )
  }

  function localize(text) {
    if (!text) return text
    const language = window.i18n.global.locale
    const table = tables[language]
    const key = `${language} ${table ? 1 : 0} ${text}`
    if (!memory.has(key)) {
      if (memory.size > 1000) memory = new Map()
      memory.set(key, figures(plain(table ? translate(text, table) : text)))
    }
    return memory.get(key)
  }

  window.satmachine.localize = localize
  window.satmachine.loadSentences = load
})()
