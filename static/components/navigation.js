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
        team: 'badge',
        cash: 'payments',
        books: 'menu_book',
        dca: 'savings',
        platform: 'domain',
        log: 'history'
      }
    }
  },
  mounted() {
    // On a phone the row is wider than the screen: show where the reader is.
    const on = this.$el.querySelector?.('.satm-nav__item--on')
    if (on) this.$el.scrollLeft = on.offsetLeft - 16
  }
})
