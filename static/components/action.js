// Asks once, says exactly what will happen, does it and says what happened.
//
// open({title, lines, fields, ok, danger, once, preview(values), foresee(values),
// run(values, key)}): `foresee` asks the server what would happen, as it is typed.
// `run` returns the sentence that tells the outcome, or throws an Error to show. A
// field is {name, label, type: text|long|amount|sats|rate|select|several|date,
// required, value}; the suffix of an amount is its currency. `once`: what it sends with `key` is
// done once; if the answer is lost that is what is said, and the same sends the same
// key.
// Without `ok` there is nothing to do but `also: {label, run()}`, if that is given.
;(() => {
  // Requests whose answer was lost, and the key that each was sent with.
  const unanswered = new Map()
  const isLost = ({status}) => status === 0 || status >= 500

  satmachine.component('action', {
    mixins: [satmachine.saving],
    emits: ['closed'],
    data() {
      return {
        shown: false,
        done: '',
        values: {},
        foreseen: '',
        ask: {title: '', fields: []}
      }
    },
    watch: {
      values: {
        deep: true,
        handler() {
          if (this.ask.foresee) this.foresee()
        }
      }
    },
    computed: {
      lines() {
        return [this.ask.lines || []].flat()
      },
      preview() {
        return this.ask.preview ? this.ask.preview(this.read()) : this.foreseen
      }
    },
    methods: {
      open(ask) {
        this.ask = {fields: [], ...ask}
        this.values = Object.fromEntries(
          this.ask.fields.map(({name, value}) => [name, value ?? ''])
        )
        this.done = ''
        this.foreseen = ''
        this.asked = ''
        this.failure = ''
        // One key a question: a second click or a retry is the same request.
        this.key = satmachine.api.newKey()
        this.shown = true
      },
      // Asked once the typing rests; an answer to what is typed no more is dropped.
      async foresee() {
        const values = this.read()
        const {reason, ...figures} = values
        const asked = JSON.stringify(figures)
        if (asked === this.asked) return
        this.asked = asked
        this.foreseen = ''
        await new Promise(resolve => setTimeout(resolve, 300))
        if (this.asked !== asked || !this.shown) return
        const found = await this.ask
          .foresee(values)
          .catch(error => error.message)
        if (this.asked === asked) this.foreseen = found
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
        return ['amount', 'rate'].includes(type) ? 'decimal' : null
      },
      rules(field) {
        const {type, required, check} = field
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
              this.fmt.amountProblem(value, this.suffixOf(field)) ||
              true
          )
        }
        if (type === 'sats') {
          rules.push(
            value =>
              value === '' ||
              this.fmt.toSats(value) !== null ||
              this.t('common.not_sats')
          )
        }
        if (type === 'rate') {
          rules.push(
            value =>
              this.fmt.toRate(value) !== null || this.t('common.not_a_rate')
          )
        }
        if (check) rules.push(check)
        return rules
      },
      // What was typed, as the API wants it.
      read() {
        const read = {}
        this.ask.fields.forEach(field => {
          const {name, type} = field
          const value = this.values[name]
          if (type === 'amount') {
            read[name] = this.fmt.toAmount(value, this.suffixOf(field))
          } else if (type === 'sats') read[name] = this.fmt.toSats(value)
          else if (type === 'rate') read[name] = this.fmt.toRate(value)
          else read[name] = typeof value === 'string' ? value.trim() : value
        })
        return read
      },
      // Sent with one key, however often, until an answer came.
      async runOnce(values) {
        const said = JSON.stringify([this.ask.title, values])
        const key = unanswered.get(said) || this.key
        try {
          const outcome = await this.ask.run(values, key)
          unanswered.delete(said)
          return outcome
        } catch (error) {
          if (!this.ask.once || !isLost(error)) throw error
          unanswered.set(said, key)
          const why = error.message
          throw new Error(this.t(`common.maybe_${this.ask.once}`, {why}))
        }
      },
      async run() {
        if (this.busy || !this.ask.ok) return
        await this.send(async () => {
          const outcome = await this.runOnce(this.read())
          if (outcome) this.done = outcome
          else this.shown = false
        })
      }
    }
  })
})()
