// What waits for a person, each with its one-click way out.
;(() => {
  const KINDS = {
    payouts_stopped: ['pan_tool', 'bad', 'look'],
    balance_used_up: ['savings', 'busy', 'look'],
    quarantined: ['report', 'warn', 'resolve'],
    attention: ['error', 'bad', 'look'],
    leg_failed: ['money_off', 'bad', 'retry'],
    dispense: ['hourglass_top', 'busy', 'report'],
    refund: ['undo', 'warn', 'refund'],
    deposit_pending: ['payments', 'busy', 'confirm'],
    low_cash: ['local_atm', 'warn', 'fill'],
    unpaired: ['link_off', 'busy', 'pair'],
    offline: ['wifi_off', 'bad', 'look'],
    no_profile: ['person_off', 'busy', 'look'],
    wallet_short: ['account_balance_wallet', 'bad', 'look'],
    no_fee_wallet: ['domain', 'warn', 'set']
  }

  satmachine.part('attention', {
    props: {items: {type: Array, default: () => []}},
    methods: {
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
        return this.look(item)[2]
      },
      // Of other operators' troubles the super mends only deposits.
      isOurs({kind, machine_id}) {
        return kind === 'deposit_pending' || this.isOwn(machine_id)
      },
      target(item) {
        const base = '/satmachineadmin/'
        if (item.settlement_id)
          return `${base}settlements/${item.settlement_id}`
        if (item.kind === 'deposit_pending') {
          return `${base}lps?show=deposits&status=pending`
        }
        if (item.kind === 'no_fee_wallet') return `${base}platform`
        if (item.client_id) return `${base}lps/${item.client_id}`
        if (item.kind === 'leg_failed') return `${base}payments?status=failed`
        if (item.kind === 'payouts_stopped') {
          return `${base}books?machine_id=${item.machine_id}&stops=true`
        }
        if (item.machine_id) return `${base}machines/${item.machine_id}`
        return `${base}settlements?status=${item.kind}`
      }
    }
  })
})()
