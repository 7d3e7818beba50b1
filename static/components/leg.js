// One leg: who is owed what, its state with the reason and the next try, and
// the repairs of a failed one. `own`: the LP looks at their own legs; `bare`:
// state and repairs alone, in a table.
satmachine.part('leg', {
  props: {
    leg: {type: Object, required: true},
    own: Boolean,
    bare: Boolean,
    actions: {type: Boolean, default: true},
    settlementLink: Boolean,
    currency: String
  },
  emits: ['changed'],
  computed: {
    name() {
      if (this.own) return this.words('own_leg', this.leg.leg_type)
      return this.legName(this.leg)
    },
    kind() {
      const {leg_type, amount_fiat} = this.leg
      const parts = []
      if (this.own) parts.push(this.machineOf)
      else if (this.name !== this.words('leg_type', leg_type)) {
        parts.push(this.words('leg_type', leg_type))
      }
      if (amount_fiat) {
        parts.push(this.fmt.fiat(amount_fiat, this.code))
      }
      if (this.own || this.settlementLink) {
        parts.push(this.fmt.time(this.leg.transaction_time))
      }
      return parts.filter(Boolean).join(' · ')
    },
    code() {
      return this.currency || this.currencyOf(this.leg.machine_id)
    },
    machineOf() {
      return this.machineName(this.leg.machine_id)
    },
    path() {
      return this.own
        ? `/lp/payments/${this.leg.id}`
        : `/payments/${this.leg.id}`
    },
    repairable() {
      if (this.leg.in_flight) return false
      if (!this.own && !this.isOwn(this.leg.machine_id)) return false
      if (this.own && this.leg.leg_type !== 'autoforward') return false
      // What waits after a failed try may be tried at once, too.
      const {status, attempts} = this.leg
      return status === 'failed' || (status === 'pending' && attempts > 0)
    },
    next() {
      const {status, next_try_at, attempts} = this.leg
      if (status !== 'pending' || !next_try_at) return ''
      const when = this.fmt.ago(next_try_at)
      return this.t('leg.next', {when, n: attempts}, attempts)
    },
    reasonClass() {
      return this.leg.status === 'failed' ? 'satm-error' : 'satm-soft'
    },
    destination() {
      const leg = this.leg
      if (leg.destination_ln_address) return leg.destination_ln_address
      if (!leg.destination_wallet_id) {
        return leg.status === 'pending' ? this.t('leg.no_destination') : ''
      }
      const id = leg.destination_wallet_id
      const own = this.g.user.wallets.find(wallet => wallet.id === id)
      return own ? own.name : this.t('leg.wallet', {id: this.fmt.short(id)})
    },
    sentDiffers() {
      const {sent_sats, amount_sats} = this.leg
      return sent_sats !== null && sent_sats !== amount_sats
    },
    facts() {
      const leg = this.leg
      const fact = (key, text, extra) =>
        text && {name: this.t(`leg.${key}`), text, ...extra}
      return [
        this.settlementLink &&
          leg.settlement_id &&
          fact('settlement', this.t('leg.open_settlement'), {
            to: `/satmachineadmin/settlements/${leg.settlement_id}`
          }),
        fact('to', this.destination),
        this.sentDiffers && fact('sent', this.fmt.sats(leg.sent_sats)),
        fact('hash', leg.external_payment_hash, {copy: true})
      ].filter(Boolean)
    }
  },
  methods: {
    reason() {
      return {
        name: 'reason',
        label: this.t('common.reason'),
        type: 'long',
        required: true
      }
    },
    told() {
      return {name: this.name, sats: this.fmt.sats(this.leg.amount_sats)}
    },
    ask(verb, fields, extra = {}) {
      this.$refs.action.open({
        title: this.t(`leg.${verb}_title`),
        lines: [this.t(`leg.${verb}_text`, this.told()), extra.line].filter(
          Boolean
        ),
        ok: this.t(`leg.${verb}`),
        danger: extra.danger,
        fields,
        run: async values => {
          const last = verb.replace('_', '-')
          await satmachine.api.post(`${this.path}/${last}`, values)
          return this.t(`leg.${verb}_done`, this.told())
        }
      })
    },
    retry() {
      this.ask('retry', [this.reason()])
    },
    voidIt() {
      const dca = this.leg.leg_type === 'dca' && this.leg.amount_fiat
      this.ask('void', [this.reason()], {
        danger: true,
        line:
          dca &&
          this.t('leg.void_dca', {
            fiat: this.fmt.fiat(this.leg.amount_fiat, this.code)
          })
      })
    },
    markPaid() {
      const reference = {
        name: 'reference',
        label: this.t('leg.reference'),
        hint: this.t('leg.reference_hint'),
        required: true
      }
      this.ask('mark_paid', [reference, this.reason()])
    }
  }
})
