// What was asked last about a settlement, whose yes it waits for, and the
// super's decision.
satmachine.component('consent', {
  props: {settlement: {type: Object, required: true}},
  emits: ['decided'],
  computed: {
    asked() {
      return this.settlement.consent
    },
    isOpen() {
      return this.asked.state === 'open'
    },
    text() {
      const {kind, sold_fiat, dispensed_fiat} = this.asked
      const fiat = amount => this.fmt.fiat(amount, this.settlement.fiat_code)
      return this.t(`consent.${kind}_asked`, {
        sold: fiat(sold_fiat),
        given: fiat(dispensed_fiat)
      })
    },
    people() {
      const {waits_for, accepted_by, declined_by} = this.asked
      const line = (key, names) =>
        names.length && {
          name: this.t(`consent.${key}`),
          text: names.map(this.called).join(', ')
        }
      return [
        this.isOpen && line('waits_for', waits_for),
        line('accepted_by', accepted_by),
        line('declined_by', declined_by)
      ].filter(Boolean)
    },
    decides() {
      if (!this.me.super || !this.isOpen) return false
      const ours = this.asked.waits_for.includes('platform')
      return this.asked.kind === 'dispense' || ours
    }
  },
  methods: {
    called(name) {
      return name === 'platform' ? this.t('consent.platform') : name
    },
    decide(outcome) {
      this.$refs.action.open({
        title: this.t(`consent.decide_${outcome}`),
        lines: [this.text, this.t(`consent.${this.asked.kind}_decides`)],
        ok: this.t(`consent.decide_${outcome}`),
        danger: outcome === 'accepted',
        fields: [
          {
            name: 'reason',
            type: 'long',
            label: this.t('common.reason'),
            required: true
          }
        ],
        run: async ({reason}) => {
          const path = `/super/settlements/${this.settlement.id}/decide`
          await satmachine.api.post(path, {outcome, reason})
          return this.t('consent.decided')
        }
      })
    }
  }
})
