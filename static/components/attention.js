// What waits for a person, each with its one-click way out: the dialog itself, where
// there is one. Many of a kind are one row with their sum, which opens.
;(() => {
  const KINDS = {
    payouts_stopped: ['pan_tool', 'bad', 'look'],
    asked: ['gavel', 'busy', 'decide'],
    reversal: ['gavel', 'busy', 'decide'],
    fees_late: ['schedule', 'warn', 'look'],
    fee_off: ['exposure', 'warn', 'look'],
    voided: ['block', 'warn', 'look'],
    resolved: ['build', 'warn', 'look'],
    tests: ['science', 'warn', 'look'],
    refunds_by_word: ['undo', 'warn', 'look'],
    dispute: ['gavel', 'busy', 'look'],
    shortfall: ['money_off', 'busy', 'look'],
    balance_used_up: ['savings', 'busy', 'look'],
    quarantined: ['report', 'warn', 'resolve'],
    past: ['history', 'warn', 'look'],
    attention: ['error', 'bad', 'look'],
    leg_failed: ['money_off', 'bad', 'retry'],
    dispense: ['hourglass_top', 'busy', 'report'],
    refund: ['undo', 'warn', 'refund'],
    deposit_pending: ['payments', 'busy', 'confirm'],
    low_cash: ['local_atm', 'warn', 'fill'],
    box_full: ['inventory_2', 'warn', 'fill'],
    cash_left: ['outbound', 'bad', 'look'],
    cash_fault: ['report', 'warn', 'look'],
    cash_difference: ['compare_arrows', 'bad', 'look'],
    visit_open: ['pending_actions', 'busy', 'look'],
    coverage_low: ['account_balance', 'bad', 'look'],
    unpaired: ['link_off', 'busy', 'pair'],
    offline: ['wifi_off', 'bad', 'look'],
    no_profile: ['person_off', 'busy', 'look'],
    wallet_short: ['account_balance_wallet', 'bad', 'look'],
    payments_waiting: ['hourglass_top', 'warn', 'look'],
    unstamped: ['help', 'warn', 'look'],
    webhook: ['dns', 'warn', 'look'],
    less_arrived: ['trending_down', 'warn', 'seen'],
    operator_gone: ['person_off', 'bad', 'look'],
    wallet_gone: ['account_balance_wallet', 'bad', 'look'],
    lp_gone: ['person_off', 'bad', 'look'],
    lp_wallet_gone: ['account_balance_wallet', 'bad', 'look'],
    split_gone: ['account_balance_wallet', 'warn', 'look'],
    platform_wallet_gone: ['domain', 'bad', 'set'],
    no_fee_wallet: ['domain', 'warn', 'set'],
    relay_deaf: ['hearing_disabled', 'warn', 'set']
  }

  // What the super is to look at, or decides, whoever's machine it is.
  const SUPERS = [
    'asked',
    'reversal',
    'fees_late',
    'fee_off',
    'voided',
    'resolved',
    'tests',
    'refunds_by_word',
    'dispute',
    'shortfall'
  ]
  // Where a sum opens what it sums.
  const LISTS = {
    fees_late: 'payments?leg_type=super_fee&status=pending,failed',
    shortfall: 'payments?leg_type=super_fee&status=pending,failed',
    fee_off: 'settlements?',
    voided: 'settlements?status=voided',
    resolved: 'settlements?',
    tests: 'settlements?is_test=true',
    refunds_by_word: 'settlements?'
  }

  // Where all of a kind are, to be searched, sorted and paged.
  const ALL = {
    leg_failed: 'payments?status=failed',
    quarantined: 'settlements?status=quarantined',
    attention: 'settlements?status=attention',
    dispense: 'settlements?status=awaiting_dispense,attention',
    refund: 'payments?leg_type=refund&status=pending',
    deposit_pending: 'lps?show=deposits&status=pending',
    dispute: 'lps?show=deposits',
    fees_late: 'payments?leg_type=super_fee&status=pending,failed',
    shortfall: 'payments?leg_type=super_fee&status=pending,failed',
    voided: 'settlements?status=voided',
    tests: 'settlements?is_test=true'
  }
  // The dialog of a sale that mends it (settlement-actions.js).
  const DIALOGS = {
    quarantined: 'resolve',
    dispense: 'dispense',
    refund: 'refund',
    leg_failed: 'retry',
    less_arrived: 'seen'
  }
  const FEW = 3

  satmachine.component('attention', {
    props: {items: {type: Array, default: () => []}},
    data() {
      return {open: []}
    },
    computed: {
      groups() {
        const kinds = [...new Set(this.items.map(({kind}) => kind))]
        return kinds.map(kind => {
          const items = this.items.filter(item => item.kind === kind)
          return {kind, items, isMany: items.length > FEW}
        })
      }
    },
    methods: {
      // How many there are, what they come to in both units, and since when.
      sums({items}) {
        const add = (all, {count}) => all + (count ?? 1)
        const sats = items.reduce((all, one) => all + (one.sats || 0), 0)
        const fiat = {}
        items.forEach(({amount_fiat, currency}) => {
          if (amount_fiat)
            fiat[currency] = (fiat[currency] || 0) + Number(amount_fiat)
        })
        const [oldest] = items
          .map(({since}) => since)
          .filter(Boolean)
          .sort()
        return [
          this.t('attention.times', {
            n: this.fmt.number(items.reduce(add, 0))
          }),
          sats && this.fmt.sats(sats),
          ...Object.entries(fiat).map(([code, sum]) =>
            this.fmt.fiat(sum, code)
          ),
          oldest && this.t('attention.oldest', {ago: this.fmt.ago(oldest)})
        ]
          .filter(Boolean)
          .join(' · ')
      },
      isOpen({kind, isMany}) {
        return !isMany || this.open.includes(kind)
      },
      toggle({kind}) {
        this.open = this.open.includes(kind)
          ? this.open.filter(one => one !== kind)
          : [...this.open, kind]
      },
      // The newest and the heaviest are in the list of all.
      all({kind, items}) {
        if (!ALL[kind]) return ''
        const theirs = items.some(({machine_id}) => !this.isOwn(machine_id))
        return `/satmachineadmin/${ALL[kind]}${theirs ? '&all=1' : ''}`
      },
      look({kind}) {
        return KINDS[kind] || ['error', 'warn', 'look']
      },
      icon(item) {
        return this.look(item)[0]
      },
      tone(item) {
        return this.look(item)[1]
      },
      verb(item) {
        // who only reads is led to it, and mends nothing there
        if (this.acting?.role === 'bookkeeper') return 'look'
        return this.look(item)[2]
      },
      // Of other operators' troubles the super mends only deposits.
      isOurs({kind, machine_id}) {
        if (this.me.super && SUPERS.includes(kind)) return true
        return (
          kind === 'deposit_pending' || !machine_id || this.isOwn(machine_id)
        )
      },
      whose({operator_name, machine_id}) {
        const theirs = operator_name && machine_id && !this.isOwn(machine_id)
        return theirs ? this.t('platform.of', {name: operator_name}) : ''
      },
      wayOut(item) {
        return this.isOurs(item)
          ? this.localize(item.action)
          : this.t('attention.theirs')
      },
      // Where the reader is already, the form is brought into sight.
      arrive({kind}) {
        if (!['no_fee_wallet', 'platform_wallet_gone'].includes(kind)) return
        this.$nextTick(() => {
          const form = document.getElementById('fees')
          form?.scrollIntoView()
          form?.querySelector('input, [tabindex]')?.focus()
        })
      },
      target(item) {
        const base = '/satmachineadmin/'
        if (item.settlement_id) {
          const step = this.verb(item) !== 'look' && DIALOGS[item.kind]
          const query = step ? `?do=${step}` : ''
          return `${base}settlements/${item.settlement_id}${query}`
        }
        const all = this.isOwn(item.machine_id) ? '' : '&all=1'
        if (item.kind === 'deposit_pending')
          return `${base}lps?show=deposits&status=pending${all}&do=${item.subject_id}`
        if (item.subject_type === 'deposit')
          return `${base}lps?show=deposits${all}`
        if (LISTS[item.kind])
          return `${base}${LISTS[item.kind]}&machine_id=${item.machine_id}${all}`
        if (['no_fee_wallet', 'platform_wallet_gone'].includes(item.kind))
          return `${base}platform#fees`
        if (item.kind === 'relay_deaf') return `${base}platform`
        if (item.kind === 'webhook') return `${base}settings`
        if (item.subject_type === 'visit')
          return `${base}cash/${item.subject_id}`
        if (item.kind === 'coverage_low') return `${base}cash`
        if (item.client_id) return `${base}lps/${item.client_id}`
        if (item.kind === 'leg_failed') return `${base}payments?status=failed`
        const pair = item.kind === 'unpaired' ? '?pair=1' : ''
        if (item.machine_id) return `${base}machines/${item.machine_id}${pair}`
        return `${base}settlements?status=${item.kind}`
      }
    }
  })
})()
