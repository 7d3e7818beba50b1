// The words of fees beside fractions, discounts and the operator's people.
window.i18n.global.mergeLocaleMessage('en', {
  satmachine: {
    fees: {
      sum_theirs: '{platform} platform + {own} operator = {sum}',
      with_fixed: '{fees} + {fixed}',
      from: 'from {least}',
      up_to: 'up to {most}',
      fixed_and_limits: 'Fixed fee and limits',
      fixed_out: 'Fixed fee of a cash-out',
      fixed_in: 'Fixed fee of a cash-in',
      fixed_hint: 'Yours, for each trade, beside the percentage. 0: none.',
      least: 'Least cash of a trade',
      most: 'Most cash of a trade',
      limits_hint: 'Empty: no limit.'
    },
    nav: {discounts: 'Discounts', team: 'Team', settings: 'Settings'},
    told: {
      title: 'What you are told',
      text: 'Messages to you alone, by the channels of your LNbits account.',
      how: 'By which channels',
      is_set: 'your address is set',
      not_set: 'your LNbits account names no address',
      not_offered: 'this LNbits does not send by it',
      none_set: 'No channel is set: you are told nothing.',
      none: 'This LNbits sends no messages: its administrator has set up no channel.',
      account: 'Set one in your LNbits account',
      test: 'Send me a test',
      sent: 'Sent by {channels}.',
      failed: 'No channel took it.',
      not_sent: 'Nothing was sent: no channel is set.',
      last: 'Last told {ago}.',
      waiting: '{n} message goes {time}. | {n} messages go from {time} on.',
      given_up:
        '{n} message was taken by no channel within a day. | {n} messages were taken by no channel within a day each.',
      when: 'When',
      zone: 'By the clock of {zone}.',
      quiet: 'Quiet hours',
      quiet_from: 'From',
      quiet_until: 'Until',
      quiet_text:
        'What comes meanwhile goes when they are over, in one message.',
      digest: 'My day in one message',
      digest_at: 'At',
      of: 'What you are told of',
      always:
        'You are always told what another does with your money, and what waits for your yes.'
    },
    told_channel: {email: 'E-mail', nostr: 'Nostr', telegram: 'Telegram'},
    told_result: {
      sent: 'Sent.',
      no_answer: 'No answer from the server.',
      refused: 'The server refused it.',
      bad_address: 'The address is not one.',
      no_relay: 'Your Nostr address names no relay that can be reached.'
    },
    told_kind: {
      sale: 'Each sale',
      deposit: 'Deposits',
      invitation: 'Answers to invitations',
      visit: 'A visit was closed'
    },
    webhook: {
      title: 'Your own server',
      text: 'A webhook: a program of yours is told what happens at your machines. Each call is signed, and comes again until your server takes it.',
      none: 'No webhook',
      none_text: 'Give the https address of a program that you run.',
      set: 'Set a webhook',
      change: 'Change the address',
      set_text:
        'From now on this address is sent what happens at your machines: sums, machines, deposits. Only you can set it.',
      url: 'Address',
      set_done: 'Saved. Copy the secret now: it is shown this once.',
      saved: 'Saved.',
      secret: 'Secret',
      secret_once:
        'The secret that calls are signed with. It is not shown again.',
      rotate: 'New secret',
      rotate_title: 'Make a new secret?',
      rotate_text:
        'For a day calls are signed with both, so that you can change it on your server. After that with the new one only.',
      remove: 'Remove',
      remove_title: 'Remove the webhook?',
      remove_text:
        'Nothing is told any more, and what is on its way is not told either.',
      remove_done: 'The webhook is removed.',
      test: 'Send a test',
      events: 'What is told',
      told: 'What was told in 30 days',
      nothing: 'Nothing told yet',
      nothing_text: 'Send a test, or wait for the next sale.',
      created_at: 'When',
      type: 'What',
      status: 'State',
      answer_status: 'Answer',
      actions: 'Again',
      again: 'Send again',
      all_again: 'Send them again',
      seen: 'I have seen it',
      last: 'Last taken {ago}',
      never: 'Nothing was taken yet',
      next: 'next try {time}',
      n_waiting: 'On their way: {n}',
      n_given_up: 'Given up after a day: {n}',
      paused: 'It failed several times: left alone until {time}'
    },
    webhook_status: {
      waiting: 'on its way',
      delivered: 'taken',
      given_up: 'given up',
      failed: 'not taken'
    },
    webhook_event: {
      settlement_completed: 'A sale is paid out',
      attention_opened: 'Something waits for you',
      attention_closed: 'It waits no more',
      deposit_recorded: 'A deposit is recorded',
      deposit_confirmed: 'A deposit is confirmed',
      deposit_cancelled: 'A deposit is cancelled',
      deposit_reversed: 'A deposit is taken back',
      visit_closed: 'A visit is closed',
      webhook_test: 'A test'
    },
    team: {
      text: 'People who work for you, each with their own login. They are asked in by a link, and are out at their next click once you remove them. The log names who did what.',
      invite: 'Ask somebody in',
      invite_text:
        'Make a link for one person. Whoever opens it and says yes has this role, until you or they end it.',
      name: 'What you call them',
      name_hint: 'Until they say yes: then their own name is shown.',
      role: 'Role',
      roles: 'What each role may',
      may_manager:
        'Everything at the operator’s machines, but: wallets, fees, splits, people, closing a balance, and where refunds above the limit go.',
      may_bookkeeper:
        'Reads all of it, with files and books, and writes notes on settlements. Changes nothing else.',
      may_collector:
        'The state, the cash and the bays of the machines that are named, and visits there. No sats, no fees, no LPs, no other machine.',
      all_machines: 'All machines, later ones too',
      link_done:
        'Send this link to one person, or let them scan it. It is good for one yes, until {time}.',
      saved: 'Saved: it counts from their next click.',
      change_title: '{name}: another role?',
      unnamed: 'without a name yet',
      until: 'The link is good until {time}.',
      seen: 'Last here {ago}',
      never_seen: 'Not here yet',
      remove: 'Remove',
      remove_title: 'Remove {name}?',
      remove_text:
        'From their next click on, {name} sees and does nothing here any more. What they did stays in the log.',
      remove_done: '{name} works for you no more.',
      withdraw: 'Take the link back',
      withdraw_title: 'Take the link for {name} back?',
      withdraw_text: 'Nobody can say yes with it any more.',
      withdraw_done: 'The link is no good any more.',
      limit: 'Refunds of managers up to',
      limit_title: 'Refunds: the limit of managers',
      limit_text:
        'Of all that a customer is owed of one sale. Above it, only you say where the refund goes.',
      no_limit: 'no limit',
      none: 'You work alone',
      none_text:
        'Ask in who fills the machines, who keeps the books, or who runs the desk with you. Nobody needs your login.',
      desk: 'Whose desk this is',
      acting: 'You work for {name}: {role}',
      own_desk: 'This is your own desk.',
      switch: 'Switch',
      switch_own: 'My own desk',
      switch_to: 'For {name}: {role}',
      leave: 'Stop working for {name}',
      leave_title: 'Stop working for {name}?',
      leave_text: 'You see nothing of {name} any more. They see that you left.',
      left: 'You work for {name} no more.',
      dismissed: 'You do not work for {name} any more.',
      asked: 'You would work at the machines of who invites you, as: {role}.',
      accept_done: 'You work for {name} now.',
      decline_done: 'Declined. {name} is not told.',
      begin: 'To work',
      owners_alone:
        'The wallet, the key and the fees are for the operator alone to set.',
      operators_wallet: 'a wallet of the operator',
      above_limit:
        'The customer of this sale is owed more than {limit}: where it goes, only the operator says.',
      no_machine: 'No machine for you',
      no_machine_text: 'Whom you work for has named none yet.',
      unnamed_machine: 'Machine without a name'
    },
    staff_role: {
      manager: 'manager',
      bookkeeper: 'bookkeeper',
      collector: 'collector'
    },
    staff_status: {active: 'works here', invited: 'asked in'},
    visit: {
      others_count: 'Somebody is counting now: the figures are here afterwards.'
    },
    machine_choice: {
      named: 'These machines',
      none: 'Choose at least one machine.'
    },
    discounts: {
      title: 'Discount codes',
      text: 'A code that a customer types at the machine takes a part off your own fee, never off the platform’s or an LP’s. Each sale says who forgave what.',
      platform: 'Discount codes of the platform',
      platform_text:
        'They take a part off the platform’s share, never off an operator’s fee. Where an operator has a code of the same name, theirs counts at their machines.',
      add: 'New code',
      change: 'Change',
      change_title: 'Change the code {code}',
      end: 'End',
      resume: 'Use again',
      remove: 'Remove',
      code: 'Code',
      code_hint:
        'What customers type: 4 to 24 letters and digits. Capital or small does not matter.',
      code_invalid: 'A code has 4 to 24 letters and digits.',
      share_own: 'Off your fee',
      share_platform: 'Off the platform’s share',
      share_hint: '100 %: nothing of your fee is left.',
      share_hint_all: '100 %: nothing of your share is left.',
      share_invalid: 'Type more than 0 and at most 100, such as 50.',
      fraction: 'Off the fee',
      off: '{share} off',
      from: 'From',
      until: 'Until, with that day',
      until_invalid: 'The last day is before the first.',
      days: 'When',
      days_hint: 'Days of {zone}. Empty: from now on, without an end.',
      from_day: 'from {day}',
      until_day: 'until {day}',
      always: 'without an end',
      valid_until: 'When',
      uses: 'Used',
      uses_of: '{used} of {most}, {left} left',
      forgiven_sats: 'Forgiven',
      max_uses: 'Most uses',
      max_uses_a_day: 'Most uses a day',
      no_limit: 'Empty: no limit.',
      at_all: 'At all my machines, later ones too',
      everywhere: 'At every machine',
      is_active: 'State',
      filter_active: 'In use',
      actions: 'What to do',
      saved: 'The code {code} is saved.',
      end_title: 'End the code {code}?',
      end_text:
        'From now on it gives nothing. Invoices that were made with it keep their price; what it forgave stays on the sales.',
      end_done: 'The code {code} gives nothing any more.',
      resume_title: 'Use the code {code} again?',
      resume_text: 'It counts from now on, within its days and its most uses.',
      resume_done: 'The code {code} is in use again.',
      remove_title: 'Remove the code {code}?',
      remove_text: 'Nobody has used it. It is gone for good.',
      remove_done: 'The code {code} is removed.',
      none: 'No codes yet',
      none_own:
        'Make one for regulars: they type it at the machine, and pay less of your fee.',
      none_platform:
        'Make one, and customers of every machine pay less of the platform’s share.'
    },
    discount_state: {
      on: 'in use',
      later: 'not yet',
      over: 'over',
      used_up: 'used up',
      ended: 'ended'
    },
    settlement: {
      discount_code: 'Discount code',
      discount: 'Discount code {code}: {who}.',
      forgave_you: 'you forgave {sats}',
      forgave_operator: 'the operator forgave {sats}',
      forgave_platform: 'the platform forgave {sats}',
      forgave_nothing: 'nothing was forgiven',
      fact_forgiven_you: 'Forgiven by you',
      fact_forgiven_operator: 'Forgiven by the operator',
      fact_forgiven_platform: 'Forgiven by the platform'
    },
    audit_action: {
      staff: {
        invite: 'Somebody asked to work here',
        change: 'Role or machines changed',
        remove: 'Somebody removed',
        leave: 'Left the work here',
        accept: 'Said yes to working here'
      }
    },
    subject: {staff: 'person'},
    field: {
      quiet_from: 'quiet from',
      quiet_until: 'quiet until',
      digest_at: 'daily sum at',
      role: 'role',
      operator_cash_in_fixed_fee: 'fixed cash-in fee',
      operator_cash_out_fixed_fee: 'fixed cash-out fee',
      min_fiat: 'least cash of a trade',
      max_fiat: 'most cash of a trade',
      operator_discount_sats: 'forgiven by the operator',
      platform_discount_sats: 'forgiven by the platform'
    }
  }
})
