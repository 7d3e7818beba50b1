// Where the guides explain each screen: page and paragraph, the same in every language
// that has the page.
window.satmachine.help = {
  overview: 'operator#every-day',
  insight: 'operator#insight',
  machines: 'operator#the-machine',
  settlements: 'operator#the-first-sale',
  payments: 'troubleshooting#states-of-a-payment',
  lps: 'operator#lps-and-deposits',
  invitations: 'lp#say-yes-first',
  splits: 'operator#splits',
  discounts: 'operator#discounts',
  team: 'operator#your-people',
  settings: 'operator#what-you-are-told',
  cash: 'collector#at-the-machine',
  books: 'collector#the-books',
  log: 'collector#the-books',
  dca: 'lp#what-you-get',
  platform: 'administrator#first-steps-on-the-platform-page'
}
