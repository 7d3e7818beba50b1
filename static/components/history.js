// Entries of the audit log, in words: what, why, who, when, before and after.
;(() => {
  // Codes, by the group of their words.
  const CODES = {
    leg_type: 'leg_type',
    tx_type: 'tx_type',
    dispense_state: 'dispense_state',
    default_dca_mode: 'dca_mode'
  }
  const FIAT = [
    'amount',
    'amount_fiat',
    'dispensed_fiat',
    'fiat_amount',
    'fixed_mode_daily_limit',
    'remaining'
  ]

  satmachine.component('history', {
    props: {entries: {type: Array, default: () => []}},
    methods: {
      actor({actor}) {
        if (actor === this.me.user_id || actor === 'you') {
          return this.t('audit.you')
        }
        return this.words('audit_actor', actor.replace(/ /g, '_'))
      },
      changes(entry) {
        const old = entry.before || {}
        const now = entry.after || {}
        return [...new Set([...Object.keys(old), ...Object.keys(now)])]
          .filter(key => JSON.stringify(old[key]) !== JSON.stringify(now[key]))
          .map(key => {
            const name = this.words('field', key)
            const was = this.value(key, old[key], entry)
            const is = this.value(key, now[key], entry)
            return key in old ? `${name}: ${was} → ${is}` : `${name}: ${is}`
          })
      },
      value(key, value, entry) {
        if (value === null || value === undefined || value === '') {
          return this.fmt.NOTHING
        }
        if (typeof value === 'boolean') {
          return this.t(value ? 'common.yes' : 'common.no')
        }
        if (key.endsWith('_fraction')) return this.fmt.percent(value)
        if (key.endsWith('_sats')) return this.fmt.sats(value)
        if (key.endsWith('_at')) return this.fmt.time(value)
        if (key in CODES) return this.words(CODES[key], value)
        if (FIAT.includes(key))
          return this.fmt.fiat(value, this.currency(entry))
        if (key === 'status') return this.status(value, entry.subject_type)
        return typeof value === 'object'
          ? this.several(value)
          : this.localize(String(value))
      },
      currency({before, after, machine_id}) {
        const said = {...before, ...after}
        return said.currency || said.fiat_code || this.currencyOf(machine_id)
      },
      status(value, subject) {
        const kind = subject === 'payment' ? 'leg' : subject || 'settlement'
        return this.words(`${kind}_status`, value)
      },
      // Bays and splits in a line, anything else as it was written.
      several(value) {
        const list = Array.isArray(value)
          ? value
          : Object.entries(value).map(([position, one]) => ({position, ...one}))
        const texts = list.map(one => {
          if (one?.denomination !== undefined) {
            return `${one.position}: ${one.count} × ${one.denomination}`
          }
          if (one?.fraction !== undefined) {
            const who = one.label || this.fmt.short(one.target)
            return `${who} ${this.fmt.percent(one.fraction)}`
          }
          return typeof one === 'string' ? one : JSON.stringify(one)
        })
        return texts.join(', ') || this.fmt.NOTHING
      }
    }
  })
})()
