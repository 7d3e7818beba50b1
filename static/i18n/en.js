window.i18n.global.mergeLocaleMessage('en', {
  satmachine: {
    common: {
      lost_since: 'No connection since {time}. What you see is from then.',
      skip: 'To the content',
      no_such_page:
        'There is no page at this address. You are where you begin.',
      not_your_page:
        'That page is for another role than yours. You are where you begin.',
      discard: 'What you typed is not saved. Discard it?',
      keep_typing: 'Go on typing',
      discard_yes: 'Discard',
      loading: 'Loading…',
      could_not_load: 'This could not be loaded',
      try_again: 'Try again',
      server_error:
        'The server could not answer ({status}). Try again in a moment.',
      no_connection: 'No connection to the server. Check the network.',
      behind: 'Not up to date: {why}',
      close: 'Close',
      cancel: 'Cancel',
      save: 'Save',
      copied: 'Copied',
      copy_what: 'Copy: {what}',
      required: 'This is needed.',
      not_an_amount: 'Type an amount such as 750.00.',
      two_readings:
        'This can be read as {one} and as {other}. Type one of the two.',
      several: '{n} chosen',
      several_done: '{n} done.',
      several_refused: '{n} refused: {why}',
      unanswered:
        'The server of this address does not answer now, so nobody knows whether it can be paid. Look at the address once more; press “{ok}” again to keep it as it is.',
      whole_units: '{code} has no decimal places: type a whole number.',
      not_a_rate:
        'Type sats for one unit of the currency, with a point before decimals, such as 133.3333.',
      not_sats: 'Type a whole number, such as 1000 or 1,000.',
      maybe_recorded:
        'It may have been recorded: look first. ({why}) If it is not there, press again: it is recorded once, however often it is sent.',
      maybe_paid:
        'It may have been done: look first. ({why}) If it is not there, press again: it is done once, however often it is sent.',
      reason: 'Why? (kept in the log)',
      empty: 'empty',
      yes: 'yes',
      no: 'no'
    },
    session: {
      out: 'You were logged out',
      text: 'Log in as {name}, and everything is as it was, with what you typed.',
      login: 'Log in',
      password: 'Password',
      wrong_password: 'The password is not right.',
      not_possible:
        'This LNbits does not take a password now. Log in another way, and come back to this page.',
      elsewhere: 'Log in',
      go_on: 'Go on where you were logged out'
    },
    zone: {
      title: 'Whose days?',
      text: 'Days, weeks and months begin and end in this time zone, on screens, in books, in statements and in files. A daily limit of yours goes by it from tomorrow.',
      label: 'Time zone',
      days_of: 'Days of {zone}: choose another time zone',
      differs: 'Your days are those of {chosen}. This device is in {here}.',
      take: 'Use {here}',
      keep: 'Keep it'
    },
    nav: {
      jumps: 'On this page',
      label: 'Sections',
      all: 'All sections; this is {here}',
      overview: 'Overview',
      machines: 'Machines',
      settlements: 'Settlements',
      lps: 'LPs and deposits',
      splits: 'Splits',
      dca: 'My DCA',
      platform: 'Platform',
      books: 'Books',
      log: 'Log'
    },
    help: {
      about: 'Help for this screen',
      title: 'Guides',
      all: 'All guides',
      why: 'What it means: {what}',
      english: 'This page is in English.'
    },
    search: {
      label: 'Find anything',
      hint: 'A hash or its beginning, the machine’s number, a name, sats, an amount of cash',
      nothing: 'Nothing of yours is called that.'
    },
    list: {
      sum: 'All of it, one row | All of it, {n} rows',
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
      days_365: '1 year',
      days_0: 'All',
      this_month: 'This month',
      last_month: 'Last month',
      this_year: 'This year'
    },
    invitations: {
      title: 'Invitations',
      from: "{name}'s machines invite you",
      text: 'You would provide cash for the machine {machine}: every cash-out of it then buys sats for you. Nothing happens before you say yes.',
      accept: 'Accept',
      decline: 'Decline',
      accept_done: 'You are an LP of {machine} now.',
      decline_done: 'Declined. Who invited you is not told.'
    },
    offers: {
      title: 'Offer to pay your balance out',
      from: '{machine}: an offer to pay your balance out',
      text: '{fiat} of yours would be paid out as {sats}, at {rate}.',
      until: 'Nothing happens until you say yes. Good until {time}.',
      accept: 'Accept',
      decline: 'Decline',
      accept_title: '{machine}: accept this offer?',
      decline_title: '{machine}: decline this offer?',
      accept_done: 'Accepted: the sats are on their way.',
      decline_done: 'Declined: nothing changes.'
    },
    consent: {
      title: 'Waits for a yes',
      waits_for_you: 'Waits for your yes',
      from: '{machine}: waits for your yes',
      until: 'Nothing changes until then. Good until {time}.',
      dispense_text:
        'The operator says that {given} of {sold} came out of the machine. With your yes, what you are owed of this sale ({sats} for {own}) shrinks to its part of that, and the rest of your balance stays with you.',
      void_text:
        'The operator asks to give up the whole sale of {sold}. With your yes the {sats} are not paid to you, and {own} stay in your balance.',
      accept: 'Yes, I agree',
      decline: 'No',
      accept_title: 'Do you agree?',
      decline_title: 'You do not agree?',
      accept_done: 'The operator sees your yes.',
      decline_done:
        'The operator and the platform see your no. Nothing changes.',
      own_accepted: 'You have agreed; others still have to.',
      own_declined: 'You did not agree: nothing changes.',
      leg_waiting: 'Waits for the yes of who is owed this.',
      leg_accepted: 'Who is owed this has agreed.',
      leg_declined: 'Who is owed this does not agree.',
      dispense_asked:
        '{given} of {sold} came out, says the operator. Until everybody who is owed agrees, or the platform decides, all stays as it was planned.',
      void_asked:
        'The operator asks to give up this sale of {sold}. Until everybody who is owed agrees, all stays as it was planned.',
      waits_for: 'Waits for the yes of',
      accepted_by: 'Agreed',
      declined_by: 'Did not agree',
      platform: 'the platform',
      dispense_decides: 'You decide for everybody who is owed by this sale.',
      void_decides:
        'You answer for the platform alone; LPs answer for themselves.',
      decide_accepted: 'Grant it',
      decide_declined: 'Refuse it',
      decided: 'Decided.'
    },
    consent_state: {
      open: 'waits',
      accepted: 'agreed',
      declined: 'refused',
      lapsed: 'lapsed after 14 days',
      replaced: 'asked anew',
      overtaken: 'too late: it was paid'
    },
    claimed: {
      open: 'Report missing cash',
      title: 'Cash that is not recorded',
      text: 'The operator confirms it, or says why not. The platform sees it too.',
      machine: 'Handed over at',
      amount: 'Amount of cash',
      notes: 'When and to whom?',
      done: 'The operator sees that you handed over {amount}.',
      says: 'The operator says that this was paid to you in another way: {reference}. It counts when you say yes.',
      accept: 'Yes, I was paid',
      decline: 'No, I was not',
      accept_title: 'Were you paid in another way?',
      decline_title: 'You were not paid?',
      accept_text:
        '{sats} are then paid, and never sent to your wallet. Reference: {reference}',
      decline_text: 'It stays owed to you. Reference: {reference}',
      accept_done: 'Marked as paid outside.',
      decline_done: 'It stays owed to you; the operator sees your no.',
      waiting: 'Waits for the LP’s yes: paid outside, {reference}',
      declined: 'The LP says that they were not paid outside.'
    },
    said: {
      decide_accepted: 'Grant',
      decide_declined: 'Refuse',
      accepted_means:
        'The dispute is upheld, and what is asked to be taken back is taken back.',
      declined_means: 'The dispute is dismissed, and the money stays as it is.',
      dispute: 'Dispute',
      dispute_title: 'Dispute this deposit',
      dispute_text:
        'The operator and the platform see it. It changes nothing of the money.',
      dispute_done: 'The operator and the platform see your dispute.',
      withdraw: 'Take the dispute back',
      agree: 'Yes, I got it back',
      refuse: 'No, I did not',
      asks: 'The operator says that {amount} were given back to you: {reason}',
      disputed: 'Disputed: {reason}',
      waits: 'Waits for the LP: {amount} back'
    },
    welcome: {
      also: 'Also:',
      also_operator: 'run machines',
      also_lp: 'provide cash',
      title: 'Welcome to Satoshi Machine',
      text: 'The back office of bitSpire Bitcoin machines on this server. What do you want to do?',
      operator: 'I run machines',
      operator_text:
        'Register a machine by its npub, set your fees, enrol the people who fill it with cash and watch every sat find its way.',
      lp: 'I provide the cash',
      lp_text:
        'An operator has enrolled you, or will. Say where your sats go: every cash-out of the machine then buys sats for you.'
    },
    tx_type: {cash_out: 'Cash-out', cash_in: 'Cash-in'},
    leg_status: {
      pending: 'on its way',
      completed: 'paid',
      failed: 'could not be paid',
      voided: 'voided',
      skipped: 'already in this wallet',
      refunded: 'refunded'
    },
    deposit_status: {
      claimed: 'claimed by the LP',
      pending: 'waiting for confirmation',
      confirmed: 'confirmed',
      cancelled: 'cancelled',
      reversed: 'reversed'
    },
    dca_mode: {flow: 'Flow', fixed: 'Fixed daily limit'},
    fees: {
      much: 'Customers would pay more than 15 % in all. Is that meant?',
      cash_out: 'Cash-out fee',
      cash_in: 'Cash-in fee',
      invalid:
        'A percentage from 0 to 100, at most two decimals, with a point before them.',
      sum: '{platform} platform + {own} yours = {sum}'
    },
    mark: {
      fee_off:
        'The fee is off your fractions by more than 1 % of the principal.',
      rate_off: 'The rate is more than 10 % off the usual one or the market’s.',
      rate_not_checked:
        'Rate not checked: neither a usual rate nor a market price was known.',
      less_arrived: 'Less arrived than the principal.',
      more_dispensed: 'More cash left the machine than was sold.',
      outside_limits: 'Outside the machine’s limits.'
    },
    leg: {
      more: 'More',
      redirect: 'Send elsewhere',
      redirect_title: 'Send this split elsewhere?',
      redirect_text:
        '{sats} to {name} goes to the target you type: a wallet, an invoice key, a Lightning address or an LNURL.',
      redirect_target: 'New target',
      redirect_done: '{sats} goes to the new target.',
      in_flight: 'being paid now',
      next: 'next try {when} | next try {when}, tried once | next try {when}, tried {n} times',
      to: 'To',
      wallet: 'LNbits wallet {id}',
      no_destination: 'nowhere yet',
      invoice: 'the customer’s invoice',
      sent: 'Sent after routing',
      hash: 'Payment hash',
      settlement: 'From',
      open_settlement: 'its settlement',
      retry: 'Pay again',
      retry_title: 'Pay this again?',
      retry_text:
        '{sats} to {name} goes back into the queue and is tried at once. It cannot be paid twice.',
      retry_done: '{sats} to {name} is on its way again.',
      void: 'Void',
      void_title: 'Void this payment?',
      void_text:
        '{sats} to {name} will never be paid. The sats stay in the machine’s wallet. This cannot be undone.',
      void_own_text:
        '{sats} is not forwarded to {name} and stays in your wallet. This cannot be undone.',
      void_settlement_text:
        '{sats} to {name} will never be paid. The sats stay in the wallet that you chose to pay from. This cannot be undone.',
      void_dca: 'The LP’s balance gets the {fiat} back.',
      void_done: '{sats} to {name} is voided.',
      mark_paid: 'Mark as paid',
      mark_paid_title: 'Was this paid in another way?',
      mark_paid_text:
        '{sats} to {name} counts as paid and is never sent from here. Say how it was paid.',
      mark_paid_done: '{sats} to {name} is marked as paid.',
      reference: 'Reference',
      reference_hint: 'A payment hash, a receipt number…'
    },
    own_leg: {
      dca: 'Sats for your cash',
      settlement: 'Your balance, closed',
      autoforward: 'Forwarded to your address'
    },
    payments: {
      paid_from: 'Paid from',
      several: 'Pay several again',
      several_title: 'Pay these again?',
      several_text:
        'Each is tried once more now. Take out what is not to be tried.',
      several_label: 'Payments on this page that failed',
      transaction_time: 'Time',
      machine_id: 'Machine',
      leg_type: 'For',
      label: 'Who',
      amount_sats: 'Amount (sat)',
      arrived_sats: 'Arrived (sat)',
      amount_fiat: 'Cash',
      status: 'State',
      none: 'No payments yet',
      none_own: 'They appear with the first cash-out after your deposit.',
      none_text: 'Every settlement makes some, as soon as there is one.'
    },
    deposits: {
      record: 'Record a deposit',
      record_text:
        'Cash that the LP has handed to you. It works for the LP as soon as it is confirmed.',
      nobody: 'No LP has chosen a wallet yet, so no deposit can be recorded.',
      from: 'From',
      amount: 'Amount',
      booked: 'In the books',
      notes: 'Note',
      status: 'State',
      created_at: 'Recorded',
      username: 'LP',
      machine_id: 'Machine',
      actions: 'Next',
      recorded: '{amount} from {name} is recorded. Confirm it when counted.',
      recorded_at: 'recorded {time}',
      confirmed_at: 'confirmed {time}',
      several: 'Confirm several',
      several_title: 'Confirm these deposits?',
      several_text:
        'Each of them starts to work: the next cash-outs buy sats for it. Take out what you did not count.',
      several_label: 'Deposits on this page that wait',
      none: 'No deposits yet',
      none_text: 'Record one when an LP hands you cash.',
      none_own: 'The operator records one when you hand over cash.',
      do_confirmed: 'Confirm',
      do_corrected: 'Correct',
      do_cancelled: 'Cancel it',
      do_reversed: 'Reverse',
      confirmed_title: 'Confirm this deposit?',
      confirmed_text:
        '{amount} of {name} starts to work: the next cash-outs buy sats for it.',
      confirmed_done: '{amount} of {name} is at work.',
      corrected_title: 'Correct this deposit?',
      corrected_text:
        'It stands at {amount} of {name}. The LP sees the new figure.',
      corrected_done: 'It stands at {amount} of {name} now.',
      cancelled_title: 'Cancel this deposit?',
      cancelled_text: '{amount} of {name} will not count.',
      cancelled_done: 'The deposit is cancelled.',
      reversed_title: 'Reverse this deposit?',
      reversed_text:
        '{amount} is taken off the balance of {name}, who sees it. Refused if it has been turned into sats.',
      reversed_done: 'The deposit is reversed.'
    },
    dca: {
      welcome: 'Turn your cash into sats',
      welcome_text:
        'Choose where your sats go. Then hand your cash to the operator: each cash-out at the machine buys sats for you.',
      settings: 'Settings',
      a_day: 'at most {limit} a day',
      paused: 'Paused by the operator',
      paused_text:
        'New cash-outs buy no sats for you until the operator resumes. What is owed to you is still paid, and your cash stays yours.',
      used_up:
        'All of your cash here has been turned into sats: nothing more comes until you hand over more.',
      limit_reached:
        'Today’s limit of {limit} is used up: nothing more comes before {time}.',
      limit_left_of: '{left} of {limit}',
      into: 'into {wallet}',
      forwards: 'forwarded to {address}',
      not_enrolled: 'You are ready',
      not_enrolled_text:
        'Now an operator enrols you. Tell them your username: {name}',
      remaining: 'Cash still at work',
      used: '{percent} turned into sats',
      deposited: 'Handed over',
      paid_out: 'Turned into sats',
      sats_received: 'Sats received',
      sats_on_the_way: 'Sats on their way',
      on_the_way_note: 'owed to you, being paid',
      average_price: 'Average price paid',
      price_now: 'Price now',
      price: '{price} for 1 BTC',
      accumulation: 'How it adds up',
      chart: 'Sats bought',
      total: 'Added up',
      per_day: 'Per day',
      payments: 'Payments to you',
      deposits: 'Your deposits'
    },
    steps: {
      title: 'First steps',
      count: '{done} of {all} done',
      hide: 'Put away',
      done: 'done:',
      to_do: 'to do:',
      operator: {
        wallet: 'A Lightning wallet for a machine, and for nothing else',
        machine: 'Register the first machine',
        pairing: 'Pair it, or give it the wallet’s key',
        fees: 'Set your fees',
        splits:
          'Say who shares your fees (they stay in the machine’s wallet else)',
        lp: 'Invite the first LP',
        deposit: 'Record the first deposit',
        sale: 'The first sale: buy for a small note, and mark it as a test'
      },
      platform: {
        fees: 'Set the platform’s fees',
        wallet: 'Choose the wallet that receives them',
        relays: 'Name the relays that machines use',
        host: 'Make LNbits’ balances fast'
      },
      lp: {
        profile: 'Choose the wallet that receives your sats',
        machine: 'An operator enrols you, and you say yes',
        deposit: 'Hand over cash, which the operator confirms',
        sats: 'The first sats arrive'
      }
    },
    statement: {
      title: 'Statement',
      text: 'A printable list of your deposits and payments in a period.',
      taxes: 'CSV for tax tools',
      open: 'Open the statement'
    },
    audit: {
      you: 'you',
      none: 'Nothing yet.',
      what: 'What changed | What changed | What changed ({n})'
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
      address_hint: "Such as you{'@'}example.com. Routing costs are yours.",
      address_invalid: "A Lightning address looks like name{'@'}example.com.",
      notify: 'Tell me of each payment, by LNbits’ notifications',
      notify_hint:
        'By the Nostr, Telegram or e-mail that you gave in your LNbits account.',
      saved: 'Your DCA settings are saved.'
    }
  }
})
