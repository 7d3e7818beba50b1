// How a component of this extension is written: `satmachine.component(name, {...})`
// registers <satm-name> with the template of the same name and what all need.
;(() => {
  const {format, store, api} = window.satmachine

  const UNSEEN = ['less_arrived', 'fee_off']

  const shared = {
    data() {
      return {store}
    },
    computed: {
      // Amounts are formatted anew when the reader changes the language.
      fmt() {
        return this.$i18n.locale && {...format}
      },
      me() {
        return this.store.me || {}
      },
      // Who works for an operator, as what; null: the reader acts for themselves.
      acting() {
        return this.store.acting
      },
      // Who fills machines sees their cash, and nothing else of them.
      collects() {
        return this.acting?.role === 'collector'
      },
      phone() {
        return this.$q.screen.lt.sm
      },
      // Beside LNbits' own drawer a table needs a wide window: else rows are cards.
      narrow() {
        return this.$q.screen.width < 1100
      }
    },
    methods: {
      t(key, ...rest) {
        return this.$t(`satmachine.${key}`, ...rest)
      },
      // Whether the reader's role includes a route ("POST /machines").
      can(route) {
        return satmachine.can(route)
      },
      // The words for a code; a code nobody has words for yet stays readable.
      words(group, code) {
        if (code === null || code === undefined || code === '') {
          return format.NOTHING
        }
        const key = `satmachine.${group}.${code}`
        const text = this.$t(key)
        return text === key ? String(code).replace(/_/g, ' ') : text
      },
      // A sentence of the server's, in the reader's language.
      localize(text) {
        return this.$i18n.locale && satmachine.localize(text)
      },
      intervalText(minutes) {
        const key = `satmachine.machine.interval_${minutes}`
        if (this.$te(key)) return this.$t(key)
        const n = format.number(minutes)
        return this.t('machine.interval_minutes', {n})
      },
      machineName(id) {
        const found = satmachine.machine(id)
        if (!found) return format.short(id || '')
        return found.name || format.short(found.machine_npub)
      },
      // A place of cash: bay:1, box, hand ...
      placeName(place) {
        const [kind, n] = place.split(':')
        return kind === 'bay'
          ? this.t('cash.bay', {n})
          : this.words('cash_place', place)
      },
      // The super sees everybody's rows in lists; opening and mending them is
      // their operator's.
      isOwn(machineId) {
        return (
          !this.me.super ||
          this.store.machines.some(one => one.id === machineId)
        )
      },
      // To choose from: their own, and everybody's where the list shows those.
      machineOptions(all = this.me.super && this.store.all) {
        const {machines, otherMachines} = this.store
        return [...machines, ...(all ? otherMachines : [])].map(({id}) => ({
          value: id,
          label: this.machineName(id)
        }))
      },
      // Nobody says that everyone is paid while a customer waits for sats.
      settlementState({status, refundable_sats}) {
        const isOwed = status === 'completed' && refundable_sats > 0
        return isOwed ? 'refund_open' : status
      },
      // What attention asks the operator to have seen, beside a settlement's status.
      isUnseen({marks, seen_at}) {
        return !seen_at && marks.some(one => UNSEEN.includes(one))
      },
      // Who a leg is for: our own fee has a label of the server's language.
      legName({leg_type, label, destination_ln_address}) {
        const known = leg_type !== 'super_fee' && leg_type !== 'refund'
        return (
          (known && (label || destination_ln_address)) ||
          this.words('leg_type', leg_type)
        )
      },
      currencyOf(id) {
        return satmachine.machine(id)?.fiat_code
      },
      go(path, query) {
        return this.$router.push({path: `/satmachineadmin/${path}`, query})
      },
      say(message, type = 'positive') {
        this.$q.notify({
          message,
          type,
          icon: null,
          timeout: 4000,
          classes: `satm-note satm-note--${type}`
        })
      },
      async copy(text) {
        await Quasar.copyToClipboard(text)
        this.say(this.t('common.copied'))
      }
    }
  }

  // What says nothing about what is on the screen: no connection, too many
  // requests, a server that restarts.
  const isTransient = ({status}) =>
    status === 0 || status === 401 || status === 429 || status >= 500

  // Loads once and again whenever the server says that something changed; a
  // component gives `load()` and shows `state`, `error` and what it loaded. What
  // is shown, and what was typed into it, outlives a quiet load that is refused.
  const autoReload = {
    data() {
      return {state: 'loading', error: ''}
    },
    created() {
      this.reload()
    },
    watch: {
      'store.version'() {
        this.reload(true)
      }
    },
    methods: {
      // Whatever is done, what is shown is read anew, and a refusal is said.
      async tell(work) {
        try {
          await work()
        } catch (error) {
          this.say(this.localize(error.message), 'negative')
        }
        await this.reload(true)
        await this.$refs.list?.reload(true)
      },
      async reload(quiet = false) {
        // What is being deleted is not read any more, nor by who has left.
        if (this.store.ending || this.$.isUnmounted) return
        if (!quiet) this.state = 'loading'
        const round = (this.round = (this.round || 0) + 1)
        try {
          const apply = await this.load(api)
          if (round !== this.round) return
          if (apply) apply()
          this.state = 'ready'
          this.error = ''
          this.store.stale.delete(this.$.uid)
        } catch (error) {
          if (round !== this.round) return
          if (quiet && this.state === 'ready' && isTransient(error)) {
            this.store.stale.set(this.$.uid, error.message)
            return
          }
          this.store.stale.delete(this.$.uid)
          this.state = 'error'
          this.error = error.message
        }
      }
    },
    unmounted() {
      this.round += 1
      this.store.stale.delete(this.$.uid)
    }
  }

  // Sends what was typed: `busy` meanwhile, and why it was refused in `failure`.
  const saving = {
    data() {
      return {busy: false, failure: ''}
    },
    methods: {
      async send(work) {
        this.busy = true
        this.failure = ''
        try {
          await work()
        } catch (error) {
          this.failure = error.message
        } finally {
          this.busy = false
        }
      }
    }
  }

  // What the server asks about once more: `name` is the field of the answer, `yes` what
  // it is for who has read why, in `words`, and sends the same again.
  function asksTwice(name, yes, words) {
    let read = null
    return async (what, send) => {
      const same = JSON.stringify(what)
      try {
        return await send({[name]: read === same ? yes : !yes})
      } catch (error) {
        if (!error.detail?.includes(name)) throw error
        read = same
        throw new Error(words())
      }
    }
  }
  // A Lightning address whose server says nothing now is kept on the second try.
  const asksReceiver = ok =>
    asksTwice('must_answer', false, () =>
      window.i18n.global.t('satmachine.common.unanswered', {ok})
    )

  // Several of a kind, each by its own request: what was done stays done, and what was
  // refused says why.
  async function oneByOne(rows, run) {
    const refused = []
    for (const row of rows) {
      await run(row).catch(error => refused.push(error.message))
    }
    const {t} = window.i18n.global
    const n = rows.length - refused.length
    const said = t('satmachine.common.several_done', {n: format.number(n)}, n)
    if (!refused.length) return said
    const why = [...new Set(refused)].join(' ')
    const many = format.number(refused.length)
    return `${said} ${t('satmachine.common.several_refused', {n: many, why})}`
  }
  // The question of several: all are chosen, and what is not meant is taken out.
  const asksSeveral = (rows, {fields = [], label, name, run, ...ask}) => ({
    ...ask,
    fields: [
      {
        name: 'several',
        type: 'several',
        label,
        options: rows.map(row => ({value: row.id, label: name(row)})),
        value: rows.map(({id}) => id)
      },
      ...fields
    ],
    preview: ({several}) => {
      const {t} = window.i18n.global
      const n = several.length
      return t('satmachine.common.several', {n: format.number(n)}, n)
    },
    run: ({several, ...values}) =>
      oneByOne(
        rows.filter(({id}) => several.includes(id)),
        row => run(row, values)
      )
  })

  // What was typed (`dirty`) is not left behind without a question: see index.js.
  const keepsTyped = {
    watch: {
      dirty: {
        immediate: true,
        handler(dirty) {
          this.store.unsaved[dirty ? 'add' : 'delete'](this.$.uid)
        }
      }
    },
    unmounted() {
      this.store.unsaved.delete(this.$.uid)
    }
  }

  // What a screen downloads is for people: their words, days and decimal sign.
  const forPeople = lang => ({for: 'spreadsheet', lang, tz: store.zone})

  // A choice that the address keeps: reload, Back and a copied link show the same.
  const inAddress = (name, usual) => ({
    get() {
      const asked = this.$route.query[name]
      return asked === undefined ? usual : Number(asked)
    },
    set(value) {
      const query = {...this.$route.query, [name]: String(value)}
      if (value === usual) delete query[name]
      this.$router.replace({query, hash: this.$route.hash})
    }
  })

  Object.assign(window.satmachine, {
    shared,
    autoReload,
    saving,
    keepsTyped,
    asksTwice,
    asksReceiver,
    asksSeveral,
    forPeople,
    inAddress
  })
  window.satmachine.component = (name, definition) =>
    window.app.component(`satm-${name}`, {
      template: `#satm-${name}`,
      ...definition,
      mixins: [shared, ...(definition.mixins || [])]
    })
})()
