from orderbook.cli import main

main()
