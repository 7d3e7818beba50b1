// What is in the operator's own hands: said, or moved to and from the bank.
satmachine.component('cash-hand', {
  emits: ['saved'],
  methods: {
    open(currencies) {
      const kinds = ['count', 'to_bank', 'from_bank', 'withdrawal']
      this.$refs.action.open({
        title: this.t('cash.hand_title'),
        lines: this.t('cash.hand_text'),
        ok: this.t('cash.hand_save'),
        fields: [
          {
            name: 'kind',
            type: 'select',
            label: this.t('cash.hand_kind'),
            value: 'count',
            options: kinds.map(value => ({
              value,
              label: this.t(`cash.hand_${value}`)
            })),
            required: true
          },
          {
            name: 'currency',
            type: 'select',
            label: this.t('cash.hand_currency'),
            value: currencies[0],
            options: currencies.map(value => ({value, label: value})),
            required: true
          },
          {
            name: 'amount',
            type: 'amount',
            label: this.t('cash.hand_amount'),
            suffix: ({currency}) => currency,
            required: true
          },
          {name: 'reason', label: this.t('cash.hand_reason')}
        ],
        run: async values => {
          const body = {...values, reason: values.reason || null}
          const answer = await satmachine.api.post('/cash/hand', body)
          const {hand_amount} = answer.totals.find(
            one => one.currency === values.currency
          )
          const amount = this.fmt.fiat(hand_amount, values.currency)
          return this.t('cash.hand_done', {amount})
        }
      })
    }
  }
})
