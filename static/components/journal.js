// The journal: what everybody had and was owed at the end of a day, every entry with
// what it is about, and the same for a spreadsheet and for plain-text accounting.
satmachine.component('journal', {
  mixins: [satmachine.autoReload],
  data() {
    return {day: satmachine.format.today(), rows: []}
  },
  computed: {
    everywhere() {
      return this.me.super && this.store.all
    },
    query() {
      const query = {at: this.fmt.endOf(this.day || this.fmt.today())}
      return this.everywhere ? {...query, scope: 'all'} : query
    },
    beancount() {
      return satmachine.api.url('/accounting.beancount', {
        tz: this.store.zone,
        scope: this.everywhere ? 'all' : ''
      })
    },
    // By machine and account, LPs by name; what is nothing is not shown.
    balances() {
      const isSomething = ({sats, fiat}) => sats || Number(fiat)
      return this.rows.filter(isSomething).map((row, index) => ({
        key: index,
        machine: this.machineName(row.machine_id),
        account: this.words('account', row.account),
        lp: row.client_id && (row.username || this.fmt.short(row.client_id)),
        sats: row.sats ? this.fmt.sats(row.sats) : '',
        fiat: Number(row.fiat) ? this.fmt.fiat(row.fiat, row.currency) : ''
      }))
    },
    columns() {
      return [
        {name: 'at', label: this.t('journal.at'), sortable: true},
        {name: 'kind', label: this.t('journal.kind'), sortable: true},
        {name: 'lines', label: this.t('journal.lines')}
      ]
    },
    filters() {
      return [
        {
          name: 'machine_id',
          label: this.t('accounting.machine'),
          options: this.machineOptions()
        },
        {name: 'at', type: 'range'}
      ]
    }
  },
  watch: {
    query() {
      this.reload(true)
    }
  },
  methods: {
    async load(api) {
      const answer = await api.get('/accounting/balances', this.query)
      return () => (this.rows = answer.data)
    },
    kind(entry) {
      const name = this.words('journal_kind', entry.kind)
      return entry.is_test ? `${name} (${this.t('journal.test')})` : name
    },
    line({account, sats, fiat}, {currency}) {
      const amounts = []
      if (sats) amounts.push(this.fmt.sats(sats))
      if (Number(fiat)) amounts.push(this.fmt.fiat(fiat, currency))
      return `${this.words('account', account)}: ${amounts.join(', ')}`
    },
    about({settlement_id, deposit_id, payment_id}) {
      const id = settlement_id || deposit_id || payment_id
      return {
        id,
        short: this.fmt.short(id),
        to: settlement_id && `/satmachineadmin/settlements/${settlement_id}`
      }
    }
  }
})
