window.i18n.global.mergeLocaleMessage('en', {
  satmachine: {
    common: {
      loading: 'Loading…',
      could_not_load: 'This could not be loaded',
      try_again: 'Try again',
      server_error:
        'The server could not answer ({status}). Try again in a moment.',
      no_connection: 'No connection to the server. Check the network.',
      close: 'Close',
      cancel: 'Cancel',
      save: 'Save',
      copied: 'Copied',
      copy_what: 'Copy: {what}',
      required: 'This is needed.',
      not_an_amount: 'Type an amount such as 750.00.',
      not_sats: 'Type a whole number of sat.',
      reason: 'Why? (kept in the log)',
      done: 'Done.'
    },
    nav: {
      label: 'Sections',
      overview: 'Overview',
      machines: 'Machines',
      settlements: 'Settlements',
      lps: 'LPs and deposits',
      splits: 'Splits',
      dca: 'My DCA',
      platform: 'Platform',
      log: 'Log'
    },
    list: {
      search: 'Search',
      filters: 'Filters',
      csv: 'Download as CSV',
      from: 'From',
      to: 'To',
      sort: 'Sort by',
      all_operators: 'All operators',
      remove_filter: 'Remove the filter {what}',
      nothing_found: 'Nothing matches',
      nothing_found_text: 'No row fits the search and the filters.',
      clear: 'Clear search and filters',
      previous: 'Previous page',
      next: 'Next page',
      shown: '{from} to {to} of {total}'
    },
    period: {
      label: 'Period',
      days_1: 'Today',
      days_7: '7 days',
      days_30: '30 days',
      days_90: '90 days',
      days_365: '1 year'
    },
    welcome: {
      title: 'Welcome to Satoshi Machine',
      text: 'The back office of bitSpire Bitcoin machines on this server. What do you want to do?',
      operator: 'I run machines',
      operator_text:
        'Register a machine by its npub, set your fees, enrol the people who fill it with cash and watch every sat find its way.',
      lp: 'I provide the cash',
      lp_text:
        'An operator has enrolled you, or will. Say where your sats go: every cash-out of the machine then buys sats for you.'
    },
    attention: {
      title: 'Needs your attention',
      nothing: 'Nothing waits for you.',
      go: {
        resolve: 'Resolve',
        look: 'Look',
        retry: 'Pay again',
        report: 'Report',
        refund: 'Refund',
        confirm: 'Confirm',
        pair: 'Pair',
        split: 'Set splits',
        cassettes: 'Cassettes',
        set: 'Set up'
      }
    },
    overview: {
      cash_out: 'Cash-out',
      cash_in: 'Cash-in',
      your_fees: 'Your fees',
      platform_fees: 'Platform fees',
      paid_to_lps: 'Paid to LPs',
      owed_to_lps: 'Fiat of LPs still at work',
      cash_in_machines: 'Cash in the machines',
      now: 'now',
      times: 'no settlement | {n} settlement | {n} settlements',
      volume_by_day: 'Volume by day (sat)',
      fees_by_day: 'Fees by day (sat)',
      recent: 'Newest settlements',
      all_settlements: 'All settlements',
      no_settlements: 'No settlements yet',
      no_settlements_text:
        'They appear here by themselves as soon as a customer uses one of your machines.',
      to_machines: 'To your machines'
    },
    tx_type: {cash_out: 'Cash-out', cash_in: 'Cash-in'},
    settlement_status: {
      awaiting_dispense: 'waiting for the machine to report the dispense',
      pending: 'waiting to be shared out',
      processing: 'being paid out',
      completed: 'everyone paid',
      attention: 'needs a person',
      quarantined: 'held back: could not be read',
      voided: 'voided'
    },
    leg_status: {
      pending: 'on its way',
      completed: 'paid',
      failed: 'could not be paid',
      voided: 'voided',
      skipped: 'already in this wallet',
      refunded: 'refunded'
    },
    leg_type: {
      dca: 'LP',
      super_fee: 'Platform fee',
      operator_split: 'Your split',
      settlement: 'Balance closed',
      autoforward: 'Forwarded',
      refund: 'Refund'
    },
    machine_status: {
      online: 'online',
      quiet: 'quiet',
      offline: 'offline',
      unpaired: 'not paired',
      inactive: 'switched off'
    },
    deposit_status: {
      pending: 'waiting for confirmation',
      confirmed: 'confirmed',
      cancelled: 'cancelled',
      reversed: 'reversed'
    },
    client_status: {active: 'active', paused: 'paused'},
    dca_mode: {flow: 'Flow', fixed: 'Fixed daily limit'},
    fees: {
      cash_out: 'Cash-out fee',
      cash_in: 'Cash-in fee',
      invalid: 'A percentage from 0 to 100, at most two decimals.',
      sum: '{platform} platform + {own} yours = {sum}'
    },
    machines: {
      add: 'Add a machine',
      none: 'No machine yet',
      none_text:
        'Have the npub of the machine ready: it shows it on its setup screen.',
      open: 'Details',
      open_what: 'Details of {name}',
      more: 'Show more machines',
      sort_name: 'Name',
      sort_created_at: 'Newest'
    },
    machine: {
      edit: 'Settings of the machine',
      npub: 'npub of the machine',
      npub_hint: 'On the setup screen of the machine. Paste it or scan it.',
      npub_invalid: 'That is no npub (npub1…) and no 64 hex digits.',
      secret_key:
        'That is a secret key (nsec). Never show it to anybody; use the npub.',
      scan: 'Scan the npub',
      name: 'Name',
      location: 'Place',
      wallet: 'Wallet',
      wallet_hint: 'One wallet for one machine; use it for nothing else.',
      fiat_code: 'Currency',
      fiat_hint: 'The notes in its cassettes.',
      your_fees: 'Your fees, on top of the platform’s',
      payouts: 'Payouts',
      payout_interval: 'Pay LPs',
      payout_interval_hint: 'Fewer, larger payments keep the server fast.',
      interval_0: 'at once',
      interval_60: 'every hour',
      interval_360: 'every 6 hours',
      interval_1440: 'once a day',
      min_payout_sats: 'Smallest payout',
      max_payout_sats: 'Largest cash-in payout',
      max_daily_payout_sats: 'Cash-in payouts in a day',
      is_active: 'Machine in service',
      register: 'Register',
      saved: 'Saved: {name}',
      seen: 'last word {ago}',
      never_seen: 'has never spoken',
      fees_out: 'Cash-out fee',
      fees_in: 'Cash-in fee',
      balance: '{balance}, {free} of it free',
      cash: 'Cash inside',
      cash_unknown: 'cassettes not entered yet',
      empty_today: 'empty within a day at this pace',
      empty_in: '| empty in about {n} day | empty in about {n} days',
      last_settlement: 'Last settlement',
      none_yet: 'none yet'
    },
    pairing: {
      pair: 'Pair',
      title: 'Pair {name}',
      how: 'Hold this code before the scanner of the machine. It proves that the machine is yours, once.',
      qr: 'QR code with the pairing code, the service key and the relays',
      code: 'One-time code',
      service: 'Service key',
      relays: 'Relays',
      valid: 'Valid',
      until: 'until {time}',
      expired: 'no longer: make a new code',
      renew: 'New code',
      print: 'Print',
      done: 'This machine is paired.'
    },
    settlements: {legs: 'All payments of settlements'},
    settlement: {
      transaction_time: 'Time',
      machine_id: 'Machine',
      tx_type: 'Kind',
      fiat_amount: 'Cash',
      principal_sats: 'Principal (sat)',
      fee_sats: 'Fee (sat)',
      wire_sats: 'Lightning (sat)',
      status: 'State',
      is_test: 'Marked as a test'
    },
    lp: {
      start: 'Start my DCA',
      settings: 'My DCA settings',
      onboarding:
        'The operator brings your cash to customers; each time, your part of the sats lands in the wallet you choose here.',
      wallet: 'Wallet that receives the sats',
      wallet_hint: 'One of your own LNbits wallets.',
      mode: 'How fast',
      flow_text: 'Your cash works as fast as customers take it.',
      fixed_text: 'At most so much of your cash a day, over all machines.',
      daily_limit: 'At most a day',
      daily_limit_hint: 'In the currency of the machine.',
      forward: 'Forward my sats to a Lightning address',
      address: 'Lightning address',
      address_hint: 'Such as you@example.com. Routing costs are yours.',
      address_invalid: 'A Lightning address looks like name@example.com.',
      saved: 'Your DCA settings are saved.'
    }
  }
})
