// One deposit and the steps it may take next. `own`: the LP looks at it;
// `bare`: the steps alone, in a table.
satmachine.part('deposit-row', {
  props: {
    deposit: {type: Object, required: true},
    own: Boolean,
    bare: Boolean
  },
  emits: ['changed'],
  computed: {
    when() {
      const {confirmed_at, created_at} = this.deposit
      return confirmed_at
        ? this.t('deposits.confirmed_at', {time: this.fmt.time(confirmed_at)})
        : this.t('deposits.recorded_at', {time: this.fmt.time(created_at)})
    },
    steps() {
      const next = {
        pending: ['confirmed', 'cancelled'],
        confirmed: ['reversed']
      }
      return next[this.deposit.status] || []
    }
  },
  methods: {
    ask(status) {
      const said = {
        amount: this.fmt.fiat(this.deposit.amount, this.deposit.currency),
        name: this.deposit.username || this.fmt.short(this.deposit.client_id)
      }
      const optional = status === 'confirmed'
      this.$refs.action.open({
        title: this.t(`deposits.${status}_title`),
        lines: this.t(`deposits.${status}_text`, said),
        ok: this.t(`deposits.do_${status}`),
        danger: status === 'reversed',
        fields: optional
          ? []
          : [
              {
                name: 'reason',
                type: 'long',
                label: this.t('common.reason'),
                required: true
              }
            ],
        run: async values => {
          await satmachine.api.put(`/deposits/${this.deposit.id}/status`, {
            status,
            ...values
          })
          return this.t(`deposits.${status}_done`, said)
        }
      })
    }
  }
})
