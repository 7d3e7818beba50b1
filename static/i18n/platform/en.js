// The words of the platform's page.
window.i18n.global.mergeLocaleMessage('en', {
  satmachine: {
    operators: {
      share: 'Your share',
      older: 'Before this version',
      resolved:
        '1 resolved with other figures | {n} resolved with other figures',
      title: 'Operators',
      text: 'What became of your share, from the payments themselves: whatever an operator marks or voids stays in a sum.',
      none: 'No operators yet',
      unnamed: 'without a name',
      paid: 'Paid to you',
      owed: 'Owed to you',
      shortfall: 'of that, not charged to customers',
      let_go: 'Let go by you',
      lost: 'Lost with voids',
      voided: '1 settlement voided | {n} settlements voided',
      test: '1 marked as a test | {n} marked as tests',
      quarantined: '1 held back | {n} held back'
    },
    platform: {
      unused: 'Machines of one user that never traded',
      unused_hint: 'More than that many nobody can register.',
      of: 'of {name}',
      cash_out: 'Cash-out, all operators',
      cash_in: 'Cash-in, all operators',
      platform_fees: 'Platform fees',
      operator_fees: 'Operators’ fees',
      paid_to_lps: 'Paid to LPs',
      operators: 'Operators',
      counts: '{machines} machines, {lps} LPs',
      fees: 'Platform fees',
      fees_legend: 'Your share of the principal, in every machine',
      wallet: 'Wallet that receives the fees',
      wallet_hint: 'One of your own wallets.',
      no_wallet: 'Without a wallet the fees are owed, and wait.',
      effect: 'What customers pay: platform + operator',
      save_title: 'Change the platform’s fees?',
      save_text:
        'From the next settlement on: {out} of a cash-out, {in} of a cash-in. Settlements that have landed keep their fees.',
      save_wallet: 'Fees are paid to the wallet {wallet}.',
      saved: 'The platform’s fees are saved.',
      machines: 'Machines of all operators',
      no_machines: 'Operators register them.',
      failed: 'Payments that failed',
      none_failed: 'None has failed',
      none_failed_text:
        'Payments that give up after ten tries are listed here.',
      name: 'Machine',
      status: 'State',
      fiat_code: 'Currency',
      operator_cash_out_fee_fraction: 'Operator, cash-out',
      operator_cash_in_fee_fraction: 'Operator, cash-in',
      last_seen_at: 'Last word'
    },
    relays: {
      revoke: 'Revoke old keys',
      revoke_title: 'Refuse old service keys now?',
      revoke_text:
        'Machines that still write to an old key are not heard until they pair again.',
      revoked: 'The old service keys are refused.',
      title: 'Line to the machines',
      no_key: 'not there: see health',
      list: 'Relays, one a line',
      hint: 'Such as wss://relay.example.com. Several are safer than one.',
      invalid: '{relay} is no relay: it begins with wss:// or ws://.',
      saved: 'The relays are saved.',
      rotate: 'New service key',
      rotate_title: 'Make a new service key?',
      rotate_text:
        'Machines learn it when they pair again. The old key is still understood for 30 days.',
      rotated: 'There is a new service key.'
    },
    health: {
      title: 'Health',
      engine: 'Engine',
      here: 'running, in this process',
      elsewhere: 'running, in another process',
      nobody: 'not running: nothing is paid',
      last_pass: 'Its last round',
      listener: 'Last payment heard',
      sweep: 'Last sweep',
      sweep_error: 'The sweep says',
      pending: 'Settlements waiting',
      unpaid: 'Payments waiting',
      failed: 'Payments failed',
      oldest: 'Oldest waits since',
      nothing_waits: 'nothing waits',
      relay: 'Relay',
      no_relay: 'none connected',
      warning: 'Warning',
      never: 'not yet'
    }
  }
})
