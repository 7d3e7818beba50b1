satmachine.part('screen-payments', {
  computed: {
    columns() {
      const col = (name, extra) => ({
        name,
        label: this.t(`payments.${name}`),
        sortable: true,
        ...extra
      })
      return [
        col('transaction_time'),
        col('machine_id', {sortable: false}),
        col('leg_type', {format: code => this.words('leg_type', code)}),
        col('label', {sortable: false}),
        col('amount_sats', {
          right: true,
          format: value => this.fmt.number(value)
        }),
        col('status')
      ]
    },
    filters() {
      const options = (group, codes) =>
        codes.map(value => ({value, label: this.words(group, value)}))
      return [
        {
          name: 'status',
          label: this.t('payments.status'),
          options: options('leg_status', [
            'pending',
            'completed',
            'failed',
            'voided',
            'skipped',
            'refunded'
          ])
        },
        {
          name: 'leg_type',
          label: this.t('payments.leg_type'),
          options: options('leg_type', [
            'dca',
            'super_fee',
            'operator_split',
            'settlement',
            'refund'
          ])
        },
        {
          name: 'machine_id',
          label: this.t('payments.machine_id'),
          options: this.store.machines.map(({id}) => ({
            value: id,
            label: this.machineName(id)
          }))
        },
        {name: 'transaction_time', type: 'range'}
      ]
    }
  }
})
