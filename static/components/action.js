// Asks once, says exactly what will happen, does it and says what happened.
//
// open({title, lines, fields, ok, danger, preview(values), run(values)}): `run`
// returns the sentence that tells the outcome, or throws an Error to show. A
// field is {name, label, type: text|long|amount|sats|select|date, required, value}.
// Without `ok` there is nothing to do but `also: {label, run()}`, if that is given.
satmachine.component('action', {
  mixins: [satmachine.saving],
  emits: ['closed'],
  data() {
    return {
      shown: false,
      done: '',
      values: {},
      ask: {title: '', fields: []}
    }
  },
  computed: {
    lines() {
      return [this.ask.lines || []].flat()
    },
    preview() {
      return this.ask.preview ? this.ask.preview(this.read()) : ''
    }
  },
  methods: {
    open(ask) {
      this.ask = {fields: [], ...ask}
      this.values = Object.fromEntries(
        this.ask.fields.map(({name, value}) => [name, value ?? ''])
      )
      this.done = ''
      this.failure = ''
      // One key a question: a second click or a retry is the same request.
      this.key = satmachine.api.newKey()
      this.shown = true
    },
    // What stands behind an amount may follow from another field.
    suffixOf({suffix}) {
      return typeof suffix === 'function' ? suffix(this.values) : suffix
    },
    inputType({type}) {
      if (type === 'long') return 'textarea'
      return type === 'date' ? 'date' : 'text'
    },
    inputMode({type}) {
      if (type === 'sats') return 'numeric'
      return type === 'amount' ? 'decimal' : null
    },
    rules({type, required, check}) {
      const rules = []
      if (required) {
        rules.push(
          value => !!String(value ?? '').trim() || this.t('common.required')
        )
      }
      if (type === 'amount') {
        rules.push(
          value =>
            !value ||
            this.fmt.toAmount(value) !== null ||
            this.t('common.not_an_amount')
        )
      }
      if (type === 'sats') {
        rules.push(
          value =>
            value === '' ||
            /^[\d\s,.']+$/.test(value) ||
            this.t('common.not_sats')
        )
      }
      if (check) rules.push(check)
      return rules
    },
    // What was typed, as the API wants it.
    read() {
      const read = {}
      this.ask.fields.forEach(({name, type}) => {
        const value = this.values[name]
        if (type === 'amount') read[name] = this.fmt.toAmount(value)
        else if (type === 'sats') {
          const digits = String(value).replace(/\D/g, '')
          read[name] = digits === '' ? null : Number(digits)
        } else read[name] = typeof value === 'string' ? value.trim() : value
      })
      return read
    },
    async run() {
      if (this.busy || !this.ask.ok) return
      await this.send(async () => {
        const outcome = await this.ask.run(this.read(), this.key)
        if (outcome) this.done = outcome
        else this.shown = false
      })
    }
  }
})
