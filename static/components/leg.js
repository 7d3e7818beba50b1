// One leg: who is owed what, its state with the reason and the next try, and
// the repairs of an open one. `own`: the LP looks at their own legs; `bare`:
// state and repairs alone, in a table. `ask` hands the question of a repair to
// whoever holds the dialog: the leg itself may leave the list while it is open.
satmachine.component('leg', {
  props: {
    leg: {type: Object, required: true},
    own: Boolean,
    bare: Boolean,
    actions: {type: Boolean, default: true},
    settlementLink: Boolean,
    currency: String
  },
  emits: ['ask'],
  computed: {
    name() {
      if (this.own) return this.words('own_leg', this.leg.leg_type)
      return this.legName(this.leg)
    },
    isNamed() {
      const {leg_type} = this.leg
      const plain = this.words('leg_type', leg_type)
      return leg_type !== 'refund' && this.name !== plain
    },
    kind() {
      const {leg_type, amount_fiat} = this.leg
      const parts = []
      if (this.own) parts.push(this.machineOf)
      else if (this.isNamed) {
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
      const {id} = this.leg
      if (this.own) return `/lp/payments/${id}`
      return this.isPlatforms ? `/super/payments/${id}` : `/payments/${id}`
    },
    // The platform's fee is the super's to give up, whoever's machine owes it.
    isPlatforms() {
      return this.leg.leg_type === 'super_fee' && this.me.super
    },
    decides() {
      return this.leg.leg_type !== 'super_fee' || this.isPlatforms
    },
    // What is owed to an LP is given up only once it has failed.
    voidable() {
      const {leg_type, status} = this.leg
      const owed = ['dca', 'settlement'].includes(leg_type)
      return this.decides && (!owed || status === 'failed')
    },
    isClaimed() {
      return this.leg.claim?.state === 'waiting'
    },
    claimText() {
      const {state, reference} = this.leg.claim || {}
      if (state === 'declined' && !this.own) return this.t('claimed.declined')
      if (state !== 'waiting') return ''
      return this.t(this.own ? 'claimed.says' : 'claimed.waiting', {reference})
    },
    // Who said yes has said it; a no may become a yes.
    isAsked() {
      return ['waiting', 'declined'].includes(this.leg.consent?.state)
    },
    consentText() {
      const asked = this.leg.consent
      if (!asked) return ''
      if (!this.own) return this.t(`consent.leg_${asked.state}`)
      return asked.state === 'waiting'
        ? this.asksFor
        : this.t(`consent.own_${asked.state}`)
    },
    asksFor() {
      const {kind, sold_fiat, dispensed_fiat} = this.leg.consent
      const fiat = amount => this.fmt.fiat(amount, this.code)
      return this.t(`consent.${kind}_text`, {
        sold: fiat(sold_fiat),
        given: fiat(dispensed_fiat),
        sats: this.fmt.sats(this.leg.amount_sats),
        own: fiat(this.leg.amount_fiat)
      })
    },
    repairable() {
      const {in_flight, machine_id, leg_type, status} = this.leg
      if (in_flight || !['pending', 'failed'].includes(status)) return false
      if (this.own) return leg_type === 'autoforward'
      return this.isPlatforms || this.isOwn(machine_id)
    },
    // What gives a leg up, or says that it was paid another way: on what failed, where
    // nobody meets it by accident. What an LP forwards they may stop at any time.
    more() {
      const {leg_type, status, attempts, has_destination} = this.leg
      const item = (verb, act) => ({label: this.t(`leg.${verb}`), act})
      if (this.own) return this.voidable ? [item('void', this.voidIt)] : []
      const mayRedirect = this.mayDo('redirect')
      const isUnclaimed = leg_type === 'refund' && !has_destination
      const isTried = leg_type === 'operator_split' && attempts > 0
      if (isTried && status !== 'failed') {
        return mayRedirect ? [item('redirect', this.redirect)] : []
      }
      if (status !== 'failed' && !isUnclaimed) return []
      return [
        leg_type === 'operator_split' &&
          mayRedirect &&
          item('redirect', this.redirect),
        this.decides &&
          this.mayDo('mark-paid') &&
          item('mark_paid', this.markPaid),
        this.voidable && this.mayDo('void') && item('void', this.voidIt)
      ].filter(Boolean)
    },
    // What waits after a failed try may be tried at once; what was not tried yet
    // needs no push.
    again() {
      const {leg_type, has_destination, status, attempts} = this.leg
      if (leg_type === 'refund' && !has_destination) return false
      if (!this.own && !this.mayDo('retry')) return false
      return status === 'failed' || attempts > 0
    },
    next() {
      const {status, next_try_at, attempts} = this.leg
      if (status !== 'pending' || !next_try_at) return ''
      const when = this.fmt.until(next_try_at)
      return this.t('leg.next', {when, n: attempts}, attempts)
    },
    reasonClass() {
      return this.leg.status === 'failed' ? 'satm-error' : 'satm-soft'
    },
    destination() {
      const leg = this.leg
      if (leg.destination_ln_address) return leg.destination_ln_address
      if (!leg.destination_wallet_id) return this.unnamedDestination
      const id = leg.destination_wallet_id
      const own = this.g.user.wallets.find(wallet => wallet.id === id)
      return own ? own.name : this.t('leg.wallet', {id: this.fmt.short(id)})
    },
    unnamedDestination() {
      const {leg_type, has_destination, status} = this.leg
      if (has_destination) {
        return leg_type === 'refund' ? this.t('leg.invoice') : ''
      }
      return status === 'pending' ? this.t('leg.no_destination') : ''
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
    mayDo(verb) {
      return this.can(`POST /payments/{leg_id}/${verb}`)
    },
    reason() {
      return {
        name: 'reason',
        label: this.t('common.reason'),
        type: 'long',
        required: true
      }
    },
    told() {
      const address = this.own && this.leg.destination_ln_address
      return {
        name: address || this.name,
        sats: this.fmt.sats(this.leg.amount_sats)
      }
    },
    ask(verb, fields, {key = verb, line, danger, receiver} = {}) {
      const asked = receiver
        ? satmachine.asksReceiver(this.t(`leg.${verb}`))
        : (_, send) => send()
      const said = this.told()
      const path = `${this.path}/${verb.replace('_', '-')}`
      this.$emit('ask', {
        title: this.t(`leg.${verb}_title`),
        lines: [this.t(`leg.${key}_text`, said), line].filter(Boolean),
        ok: this.t(`leg.${verb}`),
        danger,
        fields,
        run: async values => {
          await asked(values, must =>
            satmachine.api.post(path, {...values, ...must})
          )
          return this.t(`leg.${verb}_done`, said)
        }
      })
    },
    retry() {
      this.ask('retry', [this.reason()])
    },
    // Who keeps the sats depends on whose wallet would have paid them.
    voidIt() {
      const {leg_type, amount_fiat} = this.leg
      const special = {autoforward: 'void_own', settlement: 'void_settlement'}
      const debits = ['dca', 'settlement'].includes(leg_type) && amount_fiat
      this.ask('void', [this.reason()], {
        key: special[leg_type] || 'void',
        danger: true,
        line:
          debits &&
          this.t('leg.void_dca', {fiat: this.fmt.fiat(amount_fiat, this.code)})
      })
    },
    redirect() {
      const target = {
        name: 'target',
        label: this.t('leg.redirect_target'),
        required: true
      }
      this.ask('redirect', [target, this.reason()], {receiver: true})
    },
    answerClaim(way) {
      const said = {
        ...this.told(),
        reference: this.leg.claim.reference || ''
      }
      const path = `${this.path}/${way}`
      this.$emit('ask', {
        title: this.t(`claimed.${way}_title`),
        lines: this.t(`claimed.${way}_text`, said),
        ok: this.t(`claimed.${way}`),
        danger: way === 'accept',
        run: async () => {
          await satmachine.api.post(path)
          return this.t(`claimed.${way}_done`)
        }
      })
    },
    answerConsent(way) {
      this.$emit('ask', {
        title: this.t(`consent.${way}_title`),
        lines: this.asksFor,
        ok: this.t(`consent.${way}`),
        danger: way === 'accept',
        run: async () => {
          await satmachine.api.post(`${this.path}/${way}`)
          return this.t(`consent.${way}_done`)
        }
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
