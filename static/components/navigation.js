satmachine.component('navigation', {
  props: {sections: Array, current: String},
  data() {
    return {
      icons: {
        overview: 'dashboard',
        insight: 'insights',
        machines: 'local_atm',
        settlements: 'receipt_long',
        lps: 'groups',
        splits: 'call_split',
        discounts: 'sell',
        settings: 'settings',
        team: 'badge',
        cash: 'payments',
        books: 'menu_book',
        dca: 'savings',
        platform: 'domain',
        log: 'history'
      }
    }
  },
  computed: {
    // Some screens are in no section: a phone's menu then names the first.
    here() {
      const {sections, current} = this
      return sections.includes(current) ? current : sections[0]
    }
  }
})
